"""Reads the configuration out of one TOML file and the environment."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from oblixd.config import older
from oblixd.config.schema import Config
from oblixd.config.settings import sections, settings
from oblixd.errors import InvalidArgumentError
from oblixd.fields import FieldError, UnknownFieldError, convert, names_of


class ConfigError(InvalidArgumentError):
    """A setting is unknown or its value is not possible. Says where it was given and what is expected."""


class Source(Enum):
    """Where a setting's value comes from."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and where they come from."""

    config: Config
    sources: Mapping[str, Source] = field(default_factory=lambda: MappingProxyType({}))
    """Where each value comes from, by `section.name`, and `models`. What is not in it is a default."""
    notices: tuple[str, ...] = ()
    """What a person should change in the file: settings in an old form, which still count."""


OF_THE_COMMAND = frozenset({"acp", "aliases", "defaults", "mcp", "templates"})
"""Tables that the command `oblix` reads out of the same file. The daemon takes no notice of them."""


def load(path: Path, environ: Mapping[str, str]) -> Loaded:
    """Read the settings out of a file, which need not exist, and the environment, which wins.

    Raises ConfigError for what is unknown, has the wrong type or is out of
    range, and for a file that can't be read.
    """
    text = read(path)
    config = parse(text, path)
    given = _from_environment(environ)
    for key, value in given.items():
        section, _, name = key.partition(".")
        changed = msgspec.structs.replace(getattr(config, section), **{name: value})
        config = msgspec.structs.replace(config, **{section: changed})
    sources = dict.fromkeys(_keys(_document(text)), Source.FILE)
    sources.update(dict.fromkeys(given, Source.ENVIRONMENT))
    notices = tuple(
        f"{_location(path, text, key)}: {notice}" for key, notice in older.notices(config, set(given))
    )
    return Loaded(config, MappingProxyType(sources), notices)


def read(path: Path) -> str:
    """Read the file's text, without the byte order mark that some editors write. None: empty.

    Raises ConfigError for a file that can't be read.
    """
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def parse(text: str, path: Path) -> Config:
    """Check a file's text, and give what it says. Raises ConfigError with the file, the line and the key."""
    try:
        document = _document(text)
    except ValueError as error:
        raise _unreadable(path, error) from error
    try:
        return convert(document, Config)
    except FieldError as error:
        raise _config_error(error, _location(path, text, error.path)) from None


def _document(text: str) -> dict[str, Any]:
    """Return the tables of the daemon. Raises ValueError for what is no TOML."""
    return {key: value for key, value in tomllib.loads(text).items() if key not in OF_THE_COMMAND}


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    variables = _variables(environ, names_of(Config))
    if not variables:
        return {}
    known = {setting.variable: setting for setting in settings()}
    found = {}
    for variable in _variables(variables, sections()):
        if variable not in known:
            error = UnknownFieldError(variable, list(known))
            raise ConfigError(
                "CONFIG_UNKNOWN", error.message, field=variable, known=", ".join(error.known_names)
            )
        setting = known[variable]
        try:
            found[setting.key] = setting.parse(environ[variable])
        except FieldError as error:
            raise ConfigError(
                "CONFIG_INVALID", error.message, field=setting.key, limit=error.limit, given=error.given_value
            ) from None
    return found


def _variables(names: Iterable[str], tables: Iterable[str]) -> list[str]:
    prefixes = tuple(f"OBLIX_{table.upper()}_" for table in tables)
    return sorted(name for name in names if name.startswith(prefixes))


def _keys(document: Mapping[str, Any]) -> list[str]:
    """Name what a document sets, by `section.name`."""
    tables = {key: value for key, value in document.items() if isinstance(value, dict)}
    rest = [key for key in document if key not in tables]
    return [*rest, *(f"{section}.{name}" for section, values in tables.items() for name in values)]


def _config_error(error: FieldError, where: str) -> ConfigError:
    section = error.path.partition(".")[0].partition("[")[0]
    if isinstance(error, UnknownFieldError):
        message = error.message
        if "." not in error.path and "[" not in error.path:
            message = message.replace(section, f"[{section}]", 1)
        return ConfigError(
            "CONFIG_UNKNOWN", f"{where}: {message}", field=error.path, known=", ".join(error.known_names)
        )
    if error.path == section and section in sections():
        message = f"[{section}] must be a table: write [{section}], and settings under it."
        return ConfigError("CONFIG_INVALID", f"{where}: {message}", field=section, limit="a table")
    return ConfigError(
        "CONFIG_INVALID",
        f"{where}: {error.message}",
        field=error.path,
        limit=error.limit,
        given=error.given_value,
    )


def _unreadable(path: Path, error: Exception) -> ConfigError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ConfigError("CONFIG_UNREADABLE", f"{path} can't be read: {why}", file=path)


def _location(path: Path, text: str, key: str) -> str:
    """Name the file, and the line of a key where that is plain."""
    line = line_of(text, key)
    return f"{path}, line {line}" if line else str(path)


def line_of(text: str, key: str) -> int | None:
    """Find the line of a key such as `daemon.grace_s` or `models[1].name`. None: it is not to be seen."""
    steps = [(name, int(index or 0)) for name, index in re.findall(r"([^.\[\]]+)(?:\[(\d+)\])?", key)]
    table: tuple[str, ...] = ()
    found: int | None = None
    seen: dict[tuple[str, ...], int] = {}
    names = tuple(name for name, _ in steps)
    indexes = {names[: depth + 1]: index for depth, (_, index) in enumerate(steps)}
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*(\[\[?)\s*([^\[\]#]+?)\s*\]", line):
            table = tuple(part.strip().strip("\"'") for part in header[2].split("."))
            seen[table] = seen.get(table, -1) + 1
            if names[: len(table)] == table and _is_the_one(header[1], seen[table], indexes.get(table, 0)):
                found = number
        elif (names[: len(table)] == table and found is not None) or not table:
            name = re.match(r"\s*([A-Za-z0-9_\"'-]+)\s*[.=]", line)
            rest = names[len(table) :]
            in_place = not table or seen[table] == indexes.get(table, 0)
            if name and rest and in_place and name[1].strip("\"'") == rest[0]:
                return number
    return found


def _is_the_one(bracket: str, mode: int, mode_wanted: int) -> bool:
    return bracket == "[" or mode == mode_wanted
