"""Claude's export: `conversations.json`, a list of `{"uuid", "name", "chat_messages": [...]}`.

Messages name their parents where the export has branches; else they are a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oblix.formats.conversations import Conversation, fill_times, items, keys, mapping, objects, string
from oblix.formats.moments import set_time
from oblix.formats.parts import parts_of
from oblix.formats.trees import Tree
from oblix.formats.turns import message_of
from oblix.v1 import messages_pb2, sessions_pb2

KNOWN = keys("account flags settings input_mode start_timestamp stop_timestamp truncated project")

_ROOT = "00000000-0000-4000-8000-000000000000"


def matches(value: object) -> bool:
    """Return whether a value looks like a conversation of Claude's export."""
    return isinstance(value, dict) and isinstance(value.get("chat_messages"), list)


def read(document: Mapping[str, Any]) -> Conversation:
    """Read a conversation. Raises InvalidArgumentError where it has no list of messages."""
    said = items(document.get("chat_messages"), "chat_messages")
    session = sessions_pb2.Session(id=string(document, "uuid", "id"), title=string(document, "name", "title"))
    conversation = Conversation(session, source=document)
    set_time(session, "create_time", document.get("created_at"), conversation)
    set_time(session, "update_time", document.get("updated_at"), conversation)
    if summary := string(document, "summary"):
        session.metadata["summary"] = summary
    model = string(document, "model")

    def add(into: Conversation, item: Any) -> None:
        into.add(item, "message", lambda: _message(item, model, into))

    nodes = {string(item, "uuid"): _without_root(item) for item in objects(said) if string(item, "uuid")}
    if len(nodes) == len(said) and any("parent_message_uuid" in node for node in nodes.values()):
        tree = Tree(nodes, conversation, parent="parent_message_uuid")
        tree.read(document.get("current_leaf_message_uuid"), add)
    else:
        for item in said:
            add(conversation, item)
    for each in (conversation, *conversation.branches):
        fill_times(each)
    return conversation


def _without_root(item: Mapping[str, Any]) -> Mapping[str, Any]:
    if item.get("parent_message_uuid") != _ROOT:
        return item
    return {**item, "parent_message_uuid": None}


def _message(item: Any, model: str, conversation: Conversation) -> messages_pb2.Message | None:
    given = mapping(item, "message")
    message = message_of(given, conversation)
    if message is None:
        return None
    if not any(part.text or part.HasField("tool_call") for part in message.parts):
        # Older exports have an empty list of contents beside the text.
        message.parts.extend(parts_of(given.get("text"), conversation))
    elif isinstance(text := given.get("text"), str):
        # The contents once more, with a word of the program's in place of each call.
        conversation.rewritten.append(text)
    if message.role == messages_pb2.ROLE_ASSISTANT:
        message.model = message.model or model
        message.model = f"claude:{message.model}" if message.model else ""
    return message
