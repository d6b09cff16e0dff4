"""What a program says to a model: a prompt, the results of tools, or several messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oblix._checks import invalid, shown, text
from oblix._pictures import picture_at, picture_in, picture_of
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
PART_KEYS = {
    "text": ("type", "text"),
    "image": ("type", "path", "data", "media_type"),
    "image_url": ("type", "image_url"),
}


def input_of(prompt: object, options: Mapping[str, Any]) -> list[messages_pb2.Message]:
    """The messages of a prompt, the results of tools before it, pictures at its end.

    Raises InvalidArgumentError.
    """
    results = [
        _result(mapping_of(item, f"tool_results[{index}]", RESULT_KEYS), f"tool_results[{index}]")
        for index, item in enumerate(list_of(options.get("tool_results"), "tool_results"))
    ]
    pictures = [
        picture_of(item, f"images[{index}]")
        for index, item in enumerate(list_of(options.get("images"), "images"))
    ]
    tool = [messages_pb2.Message(role=messages_pb2.ROLE_TOOL, parts=results)] if results else []
    said = _said(prompt, required=not (results or pictures))
    return [*tool, *(_with_pictures(said, pictures) if pictures else said)]


def _with_pictures(
    said: list[messages_pb2.Message], pictures: list[messages_pb2.Part]
) -> list[messages_pb2.Message]:
    """Show the pictures with the user's last words, or by themselves where the last word is not theirs."""
    if not said or said[-1].role != messages_pb2.ROLE_USER:
        said.append(messages_pb2.Message(role=messages_pb2.ROLE_USER))
    said[-1].parts.extend(pictures)
    return said


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
        parts = _content(given.get("content") or "", role, f"{field}.content")
        calls = enumerate(list_of(given.get("tool_calls"), f"{field}.tool_calls"))
        parts += [_call(call, f"{field}.tool_calls[{index}]") for index, call in calls]
    return messages_pb2.Message(role=role, parts=parts)


def _content(value: object, role: messages_pb2.Role.ValueType, field: str) -> list[messages_pb2.Part]:
    """The parts of a message's content: a text, or a list of texts and, from a user, pictures."""
    if isinstance(value, list | tuple):
        return [_part(item, role, f"{field}[{index}]") for index, item in enumerate(value)]
    words = text(value, field)
    return [messages_pb2.Part(text=words)] if words else []


def _part(value: object, role: messages_pb2.Role.ValueType, field: str) -> messages_pb2.Part:
    kind = mapping_of(value, field).get("type")
    if not isinstance(kind, str) or kind not in PART_KEYS:
        raise invalid(f"{field}.type", f"one of {', '.join(PART_KEYS)}", shown(kind))
    given = mapping_of(value, field, PART_KEYS[kind])
    if kind == "text":
        return messages_pb2.Part(text=text(given.get("text"), f"{field}.text"))
    if role != messages_pb2.ROLE_USER:
        raise invalid(f"{field}.type", "text: only a user shows pictures", kind)
    return (
        picture_in(given, field)
        if kind == "image"
        else picture_at(given.get("image_url"), f"{field}.image_url")
    )


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
