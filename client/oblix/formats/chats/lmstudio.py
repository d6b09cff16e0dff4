"""LM Studio's conversations: `*.conversation.json`, messages with versions of which one is selected."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from oblix.formats.conversations import Conversation, fill_times, keys, mapping, object_of, objects, string
from oblix.formats.moments import set_time
from oblix.formats.parts import call_part, is_content, parts_of, result_parts
from oblix.formats.turns import ROLES, move_thoughts
from oblix.v1 import messages_pb2, sessions_pb2

KNOWN = keys(
    "genInfo perChatPredictionConfig clientInput clientInputFiles userFilesSizeBytes lastUsedModel "
    "plugins notes preprocessed defaultShouldIncludeInContext shouldIncludeInContext statusSteps "
    "debugInfoBlock style prefix suffix pluginIdentifier"
)
VERSION_NOTE = "other versions of messages left out"


def matches(value: object) -> bool:
    """Return whether a value looks like a conversation of LM Studio."""
    return isinstance(value, dict) and any("versions" in item for item in objects(value.get("messages")))


def read(document: Mapping[str, Any]) -> Conversation:
    """Read a conversation."""
    session = sessions_pb2.Session(id=string(document, "id", "createdAt"), title=string(document, "name"))
    conversation = Conversation(session, source=document)
    set_time(session, "create_time", document.get("createdAt"), conversation)
    set_time(session, "update_time", document.get("assistantLastMessagedAt"), conversation)
    if system := string(document, "systemPrompt"):
        session.context["system"] = system
    model = string(object_of(document, "lastUsedModel"), "identifier", "indexedModelIdentifier")
    for index, item in enumerate(objects(document.get("messages"))):
        path = f"messages[{index}]"
        conversation.add(item, path, partial(_message, item, model, conversation))
    fill_times(conversation)
    return conversation


def _message(item: Mapping[str, Any], model: str, conversation: Conversation) -> messages_pb2.Message | None:
    versions = objects(item.get("versions"))
    selected = item.get("currentlySelected", 0)
    number = selected if isinstance(selected, int) and 0 <= selected < len(versions) else len(versions) - 1
    for index, version in enumerate(versions):
        if index != number:
            conversation.leave_out(version, VERSION_NOTE)
    version = mapping(versions[number] if versions else None, "versions")
    name = string(version, "role").lower()
    if name not in ROLES:
        conversation.leave_out(item, f"messages of the role {name!r} left out")
        return None
    message = messages_pb2.Message(role=ROLES[name], status=messages_pb2.MESSAGE_STATUS_COMPLETE)
    if version.get("steps"):
        for step in objects(version.get("steps")):
            message.parts.extend(_step(step, conversation))
            info = object_of(step, "genInfo")
            message.model = message.model or string(info, "identifier", "indexedModelIdentifier")
        message.model = message.model or model
    else:
        message.parts.extend(parts_of(version.get("content"), conversation))
    if message.role == messages_pb2.ROLE_ASSISTANT:
        move_thoughts(message, conversation)
    return message


def _step(step: Mapping[str, Any], conversation: Conversation) -> Iterator[messages_pb2.Part]:
    kind = string(step, "type")
    style = string(object_of(step, "style"), "type")
    if kind == "contentBlock":
        for block in objects(step.get("content")):
            yield from _block(block, style, conversation)
    elif kind in ("toolStatus", "debugInfoBlock"):
        conversation.pass_over(step)
    else:
        yield from parts_of(step, conversation)


def _block(block: Mapping[str, Any], style: str, conversation: Conversation) -> Iterator[messages_pb2.Part]:
    kind = string(block, "type")
    call_id = string(block, "toolCallRequestId", "callId", "toolCallId")
    if kind == "toolCallRequest":
        yield call_part(call_id, string(block, "name"), block.get("parameters"))
    elif kind == "toolCallResult":
        yield from result_parts(call_id, _result(block.get("content"), conversation), conversation)
    else:
        for part in parts_of([block], conversation):
            yield messages_pb2.Part(reasoning=part.text) if style == "thinking" and part.text else part


def _result(content: object, conversation: Conversation) -> object:
    """Return what a tool of MCP answered: a list of blocks, written as JSON. Another text stays as it is."""
    if not isinstance(content, str) or not content.startswith("["):
        return content
    try:
        blocks = json.loads(content)
    except (ValueError, RecursionError):
        return content
    if not is_content(blocks):
        return content
    conversation.rewritten.append(content)
    return blocks
