"""JSON Lines for training: OpenAI's chat format, and ShareGPT's. Only what a model is to learn is written.

Thoughts are left out. In OpenAI's format an answer that was not complete has the weight 0: it is context,
and is not learned.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from oblix._convert.records import ROLES, text_of
from oblix.formats import images
from oblix.v1 import messages_pb2, sessions_pb2

_ROLE_NAMES = {number: name for name, number in ROLES.items()}
_SPEAKERS = {
    messages_pb2.ROLE_SYSTEM: "system",
    messages_pb2.ROLE_USER: "human",
    messages_pb2.ROLE_ASSISTANT: "gpt",
    messages_pb2.ROLE_TOOL: "observation",
}
_COMPLETE = (messages_pb2.MESSAGE_STATUS_UNSPECIFIED, messages_pb2.MESSAGE_STATUS_COMPLETE)


def dump_openai(session: sessions_pb2.Session, messages: list[messages_pb2.Message]) -> str:
    """Write a session as one line for OpenAI's fine-tuning. Empty where no model answered."""
    said = [shape for message in _system(session, messages) for shape in _openai(message)]
    while said and said[-1]["role"] != "assistant":
        said.pop()
    return _line({"messages": said}) if said else ""


def dump_sharegpt(session: sessions_pb2.Session, messages: list[messages_pb2.Message]) -> str:
    """Write a session as one line of ShareGPT. Empty where no model answered."""
    said: list[dict[str, str]] = []
    for message in _system(session, messages):
        for speaker, text in _sharegpt(message):
            if said and said[-1]["from"] == speaker and speaker in ("human", "gpt"):
                said[-1]["value"] += f"\n\n{text}"
            else:
                said.append({"from": speaker, "value": text})
    while said and said[-1]["from"] not in ("gpt", "function_call"):
        said.pop()
    return _line({"id": session.id, "conversations": said}) if said else ""


def _system(
    session: sessions_pb2.Session, messages: list[messages_pb2.Message]
) -> Iterator[messages_pb2.Message]:
    """Yield the messages, with the session's system message before them."""
    if "system" in session.context and (said := session.context["system"]) and isinstance(said, str):
        part = messages_pb2.Part(text=said)
        yield messages_pb2.Message(role=messages_pb2.ROLE_SYSTEM, parts=[part])
    yield from messages


def _openai(message: messages_pb2.Message) -> Iterator[dict[str, Any]]:
    for part in message.parts:
        if part.HasField("tool_result"):
            result = part.tool_result
            yield {"role": "tool", "tool_call_id": result.call_id, "content": result.content}
    shape: dict[str, Any] = {"role": _ROLE_NAMES.get(message.role, "user")}
    if content := _content(message):
        shape["content"] = content
    if calls := [_call(part.tool_call) for part in message.parts if part.HasField("tool_call")]:
        shape["tool_calls"] = calls
    if message.role == messages_pb2.ROLE_ASSISTANT and message.status not in _COMPLETE:
        shape["weight"] = 0
    if len(shape) > 1 and message.role != messages_pb2.ROLE_TOOL:
        yield shape


def _content(message: messages_pb2.Message) -> str | list[dict[str, Any]]:
    if not any(part.HasField("image") for part in message.parts):
        return text_of(message)
    return [
        {"type": "image_url", "image_url": {"url": images.url_of(part.image)}}
        if part.HasField("image")
        else {"type": "text", "text": part.text}
        for part in message.parts
        if part.WhichOneof("kind") in ("text", "image")
    ]


def _call(call: messages_pb2.ToolCallPart) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments_json or "{}"}
    return {"id": call.call_id, "type": "function", "function": function}


def _sharegpt(message: messages_pb2.Message) -> Iterator[tuple[str, str]]:
    for part in message.parts:
        if part.HasField("tool_result"):
            yield "observation", part.tool_result.content
    if (text := text_of(message)) and message.role in _SPEAKERS:
        yield _SPEAKERS[message.role], text
    for part in message.parts:
        if part.HasField("tool_call"):
            call = part.tool_call
            yield (
                "function_call",
                json.dumps(
                    {"name": call.name, "arguments": _parse_arguments(call.arguments_json)},
                    ensure_ascii=False,
                ),
            )


def _parse_arguments(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
