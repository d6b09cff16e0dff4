"""The configuration, out of one TOML file and the environment."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from oblixd.config import SETTINGS, Config, Source
from oblixd.errors import InvalidArgumentError
from oblixd.settings import Setting


class ConfigError(InvalidArgumentError):
    """A setting is unknown or its value is not possible. Says where it was given and what is expected."""


@dataclass(frozen=True, slots=True)
class _Given:
    """A checked value, and where it was said."""

    setting: Setting
    value: Any
    source: Source


_BY_KEY = {setting.key: setting for setting in SETTINGS}
_BY_VARIABLE = {setting.variable: setting for setting in SETTINGS}
_SECTIONS = tuple(dict.fromkeys(setting.section for setting in SETTINGS))


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """The settings out of a file, which need not exist, and the environment, which wins.

    Raises ConfigError for what is unknown, has the wrong type or is out of
    range, and for a file that can't be read.
    """
    given = [*_from_file(path), *_from_environment(environ)]
    config = Config()
    for section in _SECTIONS:
        values = {g.setting.name: g.value for g in given if g.setting.section == section}
        config = replace(config, **{section: replace(getattr(config, section), **values)})
    return replace(config, sources=MappingProxyType({g.setting.key: g.source for g in given}))


def _from_file(path: Path) -> Iterator[_Given]:
    for section, values in _read(path).items():
        if section not in _SECTIONS or not isinstance(values, dict):
            raise _unknown(f"{path}: [{section}]", section, _SECTIONS)
        names = [setting.name for setting in SETTINGS if setting.section == section]
        for name, value in values.items():
            if name not in names:
                raise _unknown(f"{path}: {section}.{name}", name, names)
            setting = _BY_KEY[f"{section}.{name}"]
            yield _Given(setting, _checked(setting, f"{path}: {setting.key}", value), Source.FILE)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError("CONFIG_UNREADABLE", f"{path} can't be read: {error}", file=path) from error


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Given]:
    prefixes = tuple(f"OBLIX_{section.upper()}_" for section in _SECTIONS)
    for variable in sorted(name for name in environ if name.startswith(prefixes)):
        if variable not in _BY_VARIABLE:
            raise _unknown(variable, variable, list(_BY_VARIABLE))
        setting = _BY_VARIABLE[variable]
        yield _Given(setting, _parsed(setting, variable, environ[variable]), Source.ENVIRONMENT)


def _checked(setting: Setting, where: str, value: Any) -> Any:
    try:
        return setting.checked(value)
    except (ValueError, OverflowError):
        raise _refused(setting, where, value) from None


def _parsed(setting: Setting, where: str, text: str) -> Any:
    try:
        return setting.parsed(text)
    except (ValueError, OverflowError):
        raise _refused(setting, where, text) from None


def _refused(setting: Setting, where: str, given: Any) -> ConfigError:
    shown = repr(given)[:100]
    message = f"{where} must be {setting.expected}; {shown} was given."
    return ConfigError("CONFIG_INVALID", message, field=setting.key, limit=setting.expected, given=shown)


def _unknown(where: str, name: str, known: Sequence[str]) -> ConfigError:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    message = f"{where} is not a setting.{hint} There are: {', '.join(known)}."
    return ConfigError("CONFIG_UNKNOWN", message, field=name, known=", ".join(known))
