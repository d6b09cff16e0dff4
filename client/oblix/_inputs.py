"""What a program says to a model: a prompt, the results of tools, or several messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oblix._checks import invalid, shown, text
from oblix._records import role_of
from oblix._tools import json_of, list_of, mapping_of
from oblix.v1 import messages_pb2

RESULT_KEYS = ("call_id", "content", "is_error")
CALL_KEYS = ("call_id", "name", "arguments", "arguments_json")
MESSAGE_KEYS = {
    messages_pb2.ROLE_TOOL: ("role", *RESULT_KEYS),
    messages_pb2.ROLE_ASSISTANT: ("role", "content", "tool_calls"),
}
"""Of the other roles: the first two."""


def input_of(prompt: object, tool_results: object) -> list[messages_pb2.Message]:
    """The messages of a prompt, the results of tools before it. Raises InvalidArgumentError."""
    parts = [
        _result(mapping_of(item, f"tool_results[{index}]", RESULT_KEYS), f"tool_results[{index}]")
        for index, item in enumerate(list_of(tool_results, "tool_results"))
    ]
    results = [messages_pb2.Message(role=messages_pb2.ROLE_TOOL, parts=parts)] if parts else []
    return [*results, *_said(prompt, required=not results)]


def _said(prompt: object, *, required: bool) -> list[messages_pb2.Message]:
    if isinstance(prompt, list | tuple):
        said = [_message(item, f"prompt[{index}]") for index, item in enumerate(prompt)]
    else:
        said = [_text_message(words)] if (words := text(prompt, "prompt")).strip() else []
    if required and not said:
        raise invalid("prompt", "text or messages, not empty", shown(prompt))
    return said


def _text_message(words: str) -> messages_pb2.Message:
    return messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=words)])


def _message(value: object, field: str) -> messages_pb2.Message:
    role = role_of(mapping_of(value, field).get("role"), f"{field}.role")
    given = mapping_of(value, field, MESSAGE_KEYS.get(role, ("role", "content")))
    if role == messages_pb2.ROLE_TOOL:
        parts = [_result(given, field)]
    else:
        words = text(given.get("content") or "", f"{field}.content")
        parts = [messages_pb2.Part(text=words)] if words else []
        calls = enumerate(list_of(given.get("tool_calls"), f"{field}.tool_calls"))
        parts += [_call(call, f"{field}.tool_calls[{index}]") for index, call in calls]
    return messages_pb2.Message(role=role, parts=parts)


def _result(given: Mapping[str, Any], field: str) -> messages_pb2.Part:
    failed = given.get("is_error", False)
    if not isinstance(failed, bool):
        raise invalid(f"{field}.is_error", "True or False", shown(failed))
    result = messages_pb2.ToolResultPart(
        call_id=text(given.get("call_id"), f"{field}.call_id"),
        content=text(given.get("content"), f"{field}.content"),
        is_error=failed,
    )
    return messages_pb2.Part(tool_result=result)


def _call(value: object, field: str) -> messages_pb2.Part:
    given = mapping_of(value, field, CALL_KEYS)
    written = given.get("arguments_json")
    arguments = {} if given.get("arguments") is None else given["arguments"]
    if written is None:
        written = json_of(mapping_of(arguments, f"{field}.arguments"), f"{field}.arguments")
    call = messages_pb2.ToolCallPart(
        call_id=text(given.get("call_id"), f"{field}.call_id"),
        name=text(given.get("name"), f"{field}.name"),
        arguments_json=text(written, f"{field}.arguments_json"),
    )
    return messages_pb2.Part(tool_call=call)
