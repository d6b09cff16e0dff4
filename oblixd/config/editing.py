"""Changes the configuration file as a person would: in place, with every comment and blank line kept.

Text in, text out. What comes out was checked by the schema before anything is written.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import AoT, Table

from oblixd.config.loader import ConfigError, parse, read
from oblixd.config.settings import Setting, sections, settings

_BY_KEY = {setting.key: setting for setting in settings()}


def setting_of(key: str) -> Setting:
    """Find a setting by its name in full. Raises ConfigError CONFIG_UNKNOWN."""
    if key in _BY_KEY:
        return _BY_KEY[key]
    section, _, name = key.partition(".")
    known = [one.name for one in settings() if one.section == section] if name else list(sections())
    # The error for a name that is not there is the schema's own.
    from oblixd.fields import UnknownFieldError  # noqa: PLC0415 - only a mistake needs it

    error = UnknownFieldError(key, known or list(sections()))
    message = f"{error.message} `oblix config` shows all of them."
    raise ConfigError("CONFIG_UNKNOWN", message, field=key)


def value_of(setting: Setting, text: str) -> Any:
    """Read a value as somebody types it: as TOML writes it, else as the environment would hold it.

    Raises ConfigError with what the setting takes.
    """
    from oblixd.fields import FieldError, convert  # noqa: PLC0415 - as above

    with contextlib.suppress(Exception):
        value = tomlkit.parse(f"value = {text}").unwrap()["value"]
        convert(value, setting.kind, setting.key)
        return value
    try:
        value = setting.parse(text)
    except FieldError as error:
        message = error.message.replace(setting.variable, setting.key, 1)
        raise ConfigError("CONFIG_INVALID", message, field=setting.key, limit=error.limit) from None
    return list(value) if isinstance(value, tuple) else value


def with_setting(text: str, setting: Setting, value: Any) -> str:
    """Give the file's text with one setting changed or added."""
    document = tomlkit.parse(text)
    if setting.section not in document:
        document[setting.section] = tomlkit.table()
    section = document[setting.section]
    section[setting.name] = value
    return tomlkit.dumps(document)


def without_setting(text: str, setting: Setting) -> str:
    """Give the file's text with one setting left out; a section that becomes empty goes, too."""
    document = tomlkit.parse(text)
    section = document.get(setting.section)
    if isinstance(section, Table) and setting.name in section:
        section.remove(setting.name)
        if not section:
            document.remove(setting.section)
    return tomlkit.dumps(document)


def with_model(text: str, table: Mapping[str, Any]) -> str:
    """Give the file's text with one more `[[models]]` table at the end of the others.

    Raises ConfigError for a model that stands there already.
    """
    document = tomlkit.parse(text)
    added = tomlkit.table()
    for key, value in table.items():
        added[key] = _inline(value) if isinstance(value, Mapping) else value
    models = document.get("models")
    if isinstance(models, AoT):
        wanted = (table["provider"], table["name"])
        if any((one.get("provider"), one.get("name")) == wanted for one in models):
            message = f"The configuration names {':'.join(wanted)} already: remove it first."
            raise ConfigError("CONFIG_INVALID", message, field="models.name", given=":".join(wanted))
        models.append(added)
    else:
        models = tomlkit.aot()
        models.append(added)
        document["models"] = models
    return tomlkit.dumps(document)


def without_model(text: str, provider: str, name: str) -> str:
    """Give the file's text without a model: its table, or its name in the provider's section.

    Raises ConfigError MODEL_NOT_CONFIGURED where the file names no such model.
    """
    document = tomlkit.parse(text)
    models, section = document.get("models"), document.get(provider)
    if isinstance(models, AoT):
        for place, table in enumerate(models):
            if (table.get("provider"), table.get("name")) == (provider, name):
                models.pop(place)
                if not models:
                    document.remove("models")
                return tomlkit.dumps(document)
    listed = section.get("models", []) if isinstance(section, Table) else []
    for place, entry in enumerate(listed):
        if str(entry).partition("=")[0] == name:
            listed.pop(place)
            return tomlkit.dumps(document)
    message = (
        f"The configuration names no model {provider}:{name}: `oblix models` lists those that there are."
    )
    raise ConfigError("MODEL_NOT_CONFIGURED", message, model=f"{provider}:{name}")


def write(path: Path, text: str) -> None:
    """Put a checked text in the file's place, whole or not at all, for its owner alone.

    A symbolic link stays one: the file that it leads to is replaced. Raises ConfigError
    for a text that the schema refuses, and OSError.
    """
    parse(text, path)
    target = path.resolve()
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(target)
    finally:
        Path(draft).unlink(missing_ok=True)


def current(path: Path) -> str:
    """Read the file's text as it can be changed. Raises ConfigError for one that is wrong already."""
    text = read(path)
    parse(text, path)
    return text


def _inline(value: Mapping[str, Any]) -> Any:
    table = tomlkit.inline_table()
    table.update(dict(value))
    return table
