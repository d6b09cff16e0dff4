"""A JSON Schema from the command line: a file, JSON, or fields in a line such as `name: str, age: int`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from oblix.cli.errors import CommandError

TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_FIELD = re.compile(
    r"\s*([A-Za-z_][A-Za-z0-9_-]*)\s*(?:(?:\s*:\s*|\s+)(\[\s*\w+\s*\]|\w+))?\s*(?:=\s*(.+?))?\s*"
)
_SUFFIX = ".json"


def schema_of(text: str) -> dict[str, Any]:
    """Return the schema that a text stands for. Raises CommandError."""
    if text.lstrip().startswith("{"):
        return _parse(text, "--schema")
    if text.endswith(_SUFFIX) or Path(text).is_file():
        try:
            return _parse(Path(text).read_text("utf-8"), text)
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"--schema {text}: {getattr(error, 'strerror', None) or error}.") from None
    return _of_fields(text)


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise CommandError(f"{where} is no JSON: {error}.") from None
    if not isinstance(schema, dict):
        raise CommandError(f"{where} is no JSON Schema: it has to be an object.")
    return schema


def _of_fields(text: str) -> dict[str, Any]:
    properties = dict(_field(part) for part in re.split(r"[,\n]", text) if part.strip())
    if not properties:
        raise CommandError("--schema has no field: say for example 'name: str, age: int'.")
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _field(part: str) -> tuple[str, dict[str, Any]]:
    found = _FIELD.fullmatch(part)
    if not found:
        raise CommandError(f"--schema: {part.strip()!r} is no field: say NAME: TYPE, as in age: int.")
    name, kind, about = found[1], found[2] or "str", found[3]
    element = kind.strip("[] ")
    if element not in TYPES:
        raise CommandError(
            f"--schema: {name} is {element}; types are {', '.join(TYPES)}, and [TYPE] for lists."
        )
    one = {"type": TYPES[element]}
    schema: dict[str, Any] = {"type": "array", "items": one} if kind.startswith("[") else one
    return name, schema | ({"description": about} if about else {})
