"""JSON Lines of messages in OpenAI's style, one conversation a line.

    {"id", "title", "metadata", "messages": [{"role", "content"}]}

Only `messages` is needed. `content` is text or a list of parts (text, and
pictures as `data:` URLs); `tool_calls`, `tool_call_id` and `reasoning_content`
are read, too. What has no place in that style stands under a key `oblix`, in the
JSON form of oblix.v1, so that what was exported comes back as it was.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask

from oblix._checks import invalid, shown, text
from oblix._records import ROLES, role_of, text_of
from oblix._values import from_struct, to_struct
from oblix.errors import InvalidArgumentError
from oblix.formats import pictures
from oblix.formats.conversations import (
    Conversation,
    items,
    mapping,
    message_from,
    named,
    optional_text,
)
from oblix.v1 import messages_pb2, sessions_pb2

Notes = Counter[str]

_OLD_ROLES = {"developer": "system", "function": "tool"}
_TEXTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
_ROLE_NAMES = {number: name for name, number in ROLES.items()}
_KEPT = FieldMask(
    paths=[
        "create_time",
        "update_time",
        "context",
        "local_only",
        "archived",
        "parent_session_id",
        "parent_sequence",
        "retention",
        "routing_policy",
    ]
)
"""What of a session stands under `oblix`: all that is not elsewhere and not the daemon's alone."""


def matches(value: object) -> bool:
    """Whether a value looks like a conversation in OpenAI's style."""
    return isinstance(value, dict) and isinstance(value.get("messages"), list)


def read(document: Mapping[str, Any]) -> Conversation:
    """Read a conversation. Raises InvalidArgumentError with the path of what is wrong."""
    session = message_from(document.get("oblix") or {}, sessions_pb2.Session(), "oblix")
    session.id = named(document, "id")
    session.title = optional_text(document, "title")
    session.metadata.CopyFrom(to_struct(document.get("metadata") or {}, "metadata"))
    conversation = Conversation(session)
    for index, item in enumerate(items(document.get("messages"), "messages")):
        conversation.messages.append(_message(item, f"messages[{index}]", conversation.notes))
    return conversation


def dump(session: sessions_pb2.Session, messages: list[messages_pb2.Message]) -> str:
    """Write a session as one line of JSON, its keys sorted."""
    own = sessions_pb2.Session()
    _KEPT.MergeMessage(session, own)
    line = {
        "id": session.id,
        "title": session.title,
        "metadata": from_struct(session.metadata),
        "messages": [_shape(message) for message in messages],
        "oblix": _plain(own),
    }
    return json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n"


def _plain(message: sessions_pb2.Session | messages_pb2.Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _message(item: object, path: str, notes: Notes) -> messages_pb2.Message:
    given = mapping(item, path)
    message = message_from(given.get("oblix") or {}, messages_pb2.Message(), f"{path}.oblix")
    message.status = message.status or messages_pb2.MESSAGE_STATUS_COMPLETE
    role = given.get("role")
    message.role = role_of(_OLD_ROLES.get(role, role) if isinstance(role, str) else role, f"{path}.role")
    if not message.parts:
        message.parts.extend(_parts(given, path, notes))
    return message


def _parts(given: Mapping[str, Any], path: str, notes: Notes) -> Iterator[messages_pb2.Part]:
    if thought := optional_text(given, "reasoning_content", path):
        yield messages_pb2.Part(reasoning=thought)
    contents = list(_contents(given.get("content"), path, notes))
    if given.get("tool_call_id") is not None:
        said = "".join(part.text for part in contents)
        result = messages_pb2.ToolResultPart(call_id=optional_text(given, "tool_call_id", path), content=said)
        yield messages_pb2.Part(tool_result=result)
        contents = [part for part in contents if not part.HasField("text")]
    yield from contents
    for index, call in enumerate(items(given.get("tool_calls") or [], f"{path}.tool_calls")):
        yield _call(call, f"{path}.tool_calls[{index}]")


def _contents(content: object, path: str, notes: Notes) -> Iterator[messages_pb2.Part]:
    if content is None or content == "":
        return
    if isinstance(content, str):
        yield messages_pb2.Part(text=text(content, f"{path}.content"))
        return
    for index, item in enumerate(items(content, f"{path}.content")):
        at = f"{path}.content[{index}]"
        part = mapping(item, at)
        kind = part.get("type")
        if isinstance(kind, str) and kind in _TEXTS:
            yield messages_pb2.Part(text=text(part.get(_TEXTS[kind]), f"{at}.{_TEXTS[kind]}"))
        elif kind in ("image_url", "input_image"):
            url = part.get("image_url")
            url = url.get("url") if isinstance(url, dict) else url
            yield pictures.part_of(text(url, f"{at}.image_url"), f"{at}.image_url", notes)
        else:
            notes[f"parts of type {shown(kind)} left out"] += 1


def _call(item: object, path: str) -> messages_pb2.Part:
    given = mapping(item, path)
    function = mapping(given.get("function"), f"{path}.function")
    arguments = function.get("arguments") or ""
    if not isinstance(arguments, str | dict):
        raise invalid(f"{path}.function.arguments", "text", shown(arguments))
    call = messages_pb2.ToolCallPart(
        call_id=optional_text(given, "id", path),
        name=text(function.get("name"), f"{path}.function.name"),
        arguments_json=text(
            arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False),
            f"{path}.function.arguments",
        ),
    )
    return messages_pb2.Part(tool_call=call)


def _shape(message: messages_pb2.Message) -> dict[str, Any]:
    """A message in OpenAI's style, and beside it what that can't say."""
    shape = _style(message)
    own = messages_pb2.Message()
    own.CopyFrom(message)
    own.ClearField("role")
    own.ClearField("sequence")
    if own.status == messages_pb2.MESSAGE_STATUS_COMPLETE:
        own.ClearField("status")
    if _says_all(shape, message):
        own.ClearField("parts")
    return shape | ({"oblix": plain} if (plain := _plain(own)) else {})


def _says_all(shape: Mapping[str, Any], message: messages_pb2.Message) -> bool:
    with suppress(InvalidArgumentError):
        return list(_parts(shape, "", Counter())) == list(message.parts)
    return False


def _style(message: messages_pb2.Message) -> dict[str, Any]:
    kinds = [part.WhichOneof("kind") for part in message.parts]
    shape: dict[str, Any] = {"role": _ROLE_NAMES.get(message.role, ""), "content": text_of(message)}
    if kinds == ["tool_result"]:
        result = message.parts[0].tool_result
        return shape | {"tool_call_id": result.call_id, "content": result.content}
    if "image" in kinds or kinds.count("text") > 1:
        shape["content"] = [_content(part) for part in message.parts if _is_content(part)]
    if "reasoning" in kinds:
        shape["reasoning_content"] = "".join(part.reasoning for part in message.parts)
    if "tool_call" in kinds:
        shape["tool_calls"] = [
            _called(part.tool_call) for part in message.parts if part.HasField("tool_call")
        ]
    return shape


def _is_content(part: messages_pb2.Part) -> bool:
    return part.WhichOneof("kind") in ("text", "image")


def _content(part: messages_pb2.Part) -> dict[str, Any]:
    if part.HasField("image"):
        return {"type": "image_url", "image_url": {"url": pictures.url_of(part.image)}}
    return {"type": "text", "text": part.text}


def _called(call: messages_pb2.ToolCallPart) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments_json}
    return {"id": call.call_id, "type": "function", "function": function}
