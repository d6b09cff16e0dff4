"""JSON Lines of messages in OpenAI's style, one conversation a line.

    {"id", "title", "metadata", "messages": [{"role", "content"}]}

Only `messages` is needed. `content` is text or a list of parts; calls, results, refusals, thoughts,
transcripts of sounds and citations are read as every style near to OpenAI's writes them. What has no place
in that style stands under a key `oblix`, in the JSON form of oblix.v1, so that what was exported comes back
as it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask

from oblix._convert.records import ROLES, text_of
from oblix._convert.values import from_struct
from oblix.formats import images
from oblix.formats.chats import openai
from oblix.formats.conversations import Conversation, items, mapping, message_from, objects
from oblix.v1 import messages_pb2, sessions_pb2

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
    """Return whether a value looks like a conversation in OpenAI's style."""
    return isinstance(value, dict) and isinstance(value.get("messages"), list)


def read(document: Mapping[str, Any]) -> Conversation:
    """Read a conversation. Raises InvalidArgumentError where it has no list of messages."""
    said = items(document.get("messages"), "messages")
    is_own = "oblix" in document or any("oblix" in item for item in objects(said))
    conversation = openai.conversation_of(document, [] if is_own else said, "messages")
    if is_own:
        _take_own(document, said, conversation)
    return conversation


def _take_own(document: Mapping[str, Any], messages: list[Any], conversation: Conversation) -> None:
    """Read what Oblix wrote: its own fields, and messages with theirs."""
    session = message_from(document.get("oblix") or {}, sessions_pb2.Session(), "oblix")
    session.id, session.title = conversation.session.id, conversation.session.title
    session.metadata.CopyFrom(conversation.session.metadata)
    conversation.session = session
    conversation.pass_over(document.get("oblix"))
    for index, item in enumerate(messages):
        path = f"messages[{index}]"
        conversation.add(item, path, partial(_message, item, path, conversation), keep_empty=True)


def dump(session: sessions_pb2.Session, messages: list[messages_pb2.Message]) -> str:
    """Write a session as one line of JSON, its keys sorted."""
    own = sessions_pb2.Session()
    _KEPT.MergeMessage(session, own)
    line = {
        "id": session.id,
        "title": session.title,
        "metadata": from_struct(session.metadata),
        "messages": [_shape(message) for message in messages],
        "oblix": _as_dict(own),
    }
    return json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n"


def _as_dict(message: sessions_pb2.Session | messages_pb2.Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _message(item: object, path: str, conversation: Conversation) -> messages_pb2.Message | None:
    given = mapping(item, path)
    # Each message stands for itself: whatever its neighbours say, it comes back as it was.
    alone = Conversation(sessions_pb2.Session())
    read = openai.turn(given, alone)
    conversation.notes.update(alone.notes)
    conversation.settled.update(alone.settled)
    conversation.rewritten += alone.rewritten
    if read is None:
        return None
    message = message_from(given.get("oblix") or {}, messages_pb2.Message(), f"{path}.oblix")
    conversation.pass_over(given.get("oblix"))
    message.status = message.status or messages_pb2.MESSAGE_STATUS_COMPLETE
    message.role = read.role
    if not message.parts:
        message.parts.extend(read.parts)
    return message


def _shape(message: messages_pb2.Message) -> dict[str, Any]:
    """Return a message in OpenAI's style, and beside it what that can't say."""
    shape = _style(message)
    own = messages_pb2.Message()
    own.CopyFrom(message)
    own.ClearField("role")
    own.ClearField("sequence")
    if own.status == messages_pb2.MESSAGE_STATUS_COMPLETE:
        own.ClearField("status")
    if _says_all(shape, message):
        own.ClearField("parts")
    return shape | ({"oblix": plain} if (plain := _as_dict(own)) else {})


def _says_all(shape: Mapping[str, Any], message: messages_pb2.Message) -> bool:
    read = openai.turn(shape, Conversation(sessions_pb2.Session()))
    return read is not None and list(read.parts) == list(message.parts)


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
        shape["tool_calls"] = [_call(part.tool_call) for part in message.parts if part.HasField("tool_call")]
    return shape


def _is_content(part: messages_pb2.Part) -> bool:
    return part.WhichOneof("kind") in ("text", "image")


def _content(part: messages_pb2.Part) -> dict[str, Any]:
    if part.HasField("image"):
        return {"type": "image_url", "image_url": {"url": images.url_of(part.image)}}
    return {"type": "text", "text": part.text}


def _call(call: messages_pb2.ToolCallPart) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments_json}
    return {"id": call.call_id, "type": "function", "function": function}
