"""Tools that a model may call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from oblix._convert.validation import describe, invalid, text
from oblix.v1 import executions_pb2

CHOICES = {
    "auto": executions_pb2.TOOL_CHOICE_AUTO,
    "required": executions_pb2.TOOL_CHOICE_REQUIRED,
    "none": executions_pb2.TOOL_CHOICE_NONE,
}
KEYS = ("name", "description", "parameters")


def tools_of(value: object) -> list[executions_pb2.ToolDefinition]:
    """Return the tools of a prompt: plain dicts, or OpenAI's around them. Raises InvalidArgumentError."""
    given = list_of(value, "tools")
    if any(map(callable, given)):
        from oblix._resources.functions import definitions_of  # noqa: PLC0415 - few programs need it

        given = definitions_of(given)
    return [_tool(item, f"tools[{index}]") for index, item in enumerate(given)]


def schema_of(value: object, field: str) -> str:
    """Return a JSON Schema as JSON text; empty for None. Raises InvalidArgumentError."""
    return "" if value is None else json_of(mapping_of(value, field), field)


def json_of(value: object, field: str) -> str:
    """Return a value as JSON text, or InvalidArgumentError."""
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise invalid(field, "what JSON can hold", f"{describe(value)} ({error})") from None


def list_of(value: object, field: str) -> Sequence[object]:
    """Return a list, empty for None, or InvalidArgumentError."""
    if value is None:
        return []
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise invalid(field, "a list", describe(value))
    return value


def mapping_of(value: object, field: str, keys: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return a dict, of these keys only where some are named, or InvalidArgumentError."""
    if not isinstance(value, Mapping):
        raise invalid(field, "a dict", describe(value))
    unknown = [key for key in value if key not in keys] if keys else []
    if unknown:
        raise invalid(field, f"a dict with the keys {', '.join(keys)}", describe(unknown[0]))
    return value


def _tool(value: object, field: str) -> executions_pb2.ToolDefinition:
    if isinstance(value, Mapping) and "function" in value:
        value, field = _unwrap(value, field), f"{field}.function"
    tool = mapping_of(value, field, KEYS)
    return executions_pb2.ToolDefinition(
        name=text(tool.get("name"), f"{field}.name"),
        description=text(tool.get("description") or "", f"{field}.description"),
        parameters_schema=schema_of(tool.get("parameters"), f"{field}.parameters"),
    )


def _unwrap(value: object, field: str) -> object:
    wrapper = mapping_of(value, field, ("type", "function"))
    if wrapper.get("type", "function") != "function":
        raise invalid(f"{field}.type", "function", describe(wrapper["type"]))
    return wrapper["function"]
