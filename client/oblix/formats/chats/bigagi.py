"""big-AGI's export: `{"conversations": [...]}`, or one chat, whose messages have `fragments`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from oblix.formats import images
from oblix.formats.chats import openai
from oblix.formats.conversations import Conversation, keys, mapping, object_of, objects, string
from oblix.formats.parts import call_part, parts_of, result_part, text_part
from oblix.formats.turns import message_of
from oblix.v1 import messages_pb2

KNOWN = keys("generator purposeId userFlags tokenCount avatar pendingIncomplete systemPurposeId")


def matches(value: object) -> bool:
    """Return whether a value looks like a chat of big-AGI."""
    return isinstance(value, dict) and any("fragments" in item for item in objects(value.get("messages")))


def read(document: Mapping[str, Any]) -> Conversation:
    """Read a chat."""
    title = string(document, "userTitle", "autoTitle")
    header = {key: document.get(key) for key in ("id", "created", "updated")}
    shell = {
        "id": header["id"],
        "title": title,
        "created_at": header["created"],
        "updated_at": header["updated"],
    }
    conversation = openai.conversation_of(shell, [], "messages")
    conversation.source = document
    for index, item in enumerate(objects(document.get("messages"))):
        path = f"messages[{index}]"
        conversation.add(item, path, partial(_message, item, conversation))
    return conversation


def _message(item: Mapping[str, Any], conversation: Conversation) -> messages_pb2.Message | None:
    message = message_of({**item, "content": None}, conversation)
    if message is None:
        return None
    for fragment in objects(item.get("fragments")):
        message.parts.extend(_fragment(fragment, conversation))
    if message.role == messages_pb2.ROLE_ASSISTANT:
        message.model = message.model or string(object_of(item, "generator"), "name", "mgt")
    return message


def _fragment(fragment: Mapping[str, Any], conversation: Conversation) -> Iterator[messages_pb2.Part]:
    part = mapping(fragment.get("part", fragment), "part")
    kind = string(part, "pt")
    inner = object_of(part, "invocation") or object_of(part, "result") or part
    match kind:
        case "text" | "error":
            yield text_part(string(part, "text", "error"))
        case "ma":
            yield messages_pb2.Part(reasoning=string(part, "aText"))
        case "tool_invocation":
            yield call_part(
                part.get("id"), string(inner, "name", "type"), inner.get("args") or inner.get("code")
            )
        case "tool_response":
            said = string(inner, "result") or str(inner.get("result") or "")
            yield result_part(part.get("id"), said, is_error=bool(part.get("error")))
        case "doc":
            title, data = string(fragment, "title"), object_of(part, "data")
            yield text_part(f"[file: {title or 'unnamed'}]\n{string(data, 'text')}")
        case "reference" | "zync" | "image_ref":
            conversation.note(images.ADDRESS_NOTE)
            yield text_part(f"[image: {string(fragment, 'title') or string(part, 'altText') or 'unnamed'}]")
        case "ph" | "_pt_sentinel" | "annotations":
            conversation.pass_over(fragment)
        case _:
            yield from parts_of(part, conversation)
