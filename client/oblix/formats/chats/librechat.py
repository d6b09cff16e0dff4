"""LibreChat's export of a conversation as JSON: messages as a tree, nested (`children`) or in a list.

Each message has `text`, or `content` in parts, `sender`, `isCreatedByUser` and `parentMessageId`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from oblix.formats.conversations import Conversation, fill_times, keys, object_of, objects, string
from oblix.formats.moments import set_time
from oblix.formats.trees import Tree
from oblix.formats.turns import message_of
from oblix.v1 import messages_pb2, sessions_pb2

KNOWN = keys(
    "options chatGptLabel promptPrefix iconURL _meiliIndex tokenCount plugins greeting spec agent_id "
    "isCreatedByUser resendFiles user tags exportAt branches recursive endpoint"
)
_ROOT = "00000000-0000-0000-0000-000000000000"


def matches(value: object) -> bool:
    """Return whether a value looks like an export of LibreChat."""
    if not isinstance(value, dict):
        return False
    said = value.get("messages") if isinstance(value.get("messages"), list) else value.get("messagesTree")
    return any("isCreatedByUser" in item or "parentMessageId" in item for item in objects(said))


def read(document: Mapping[str, Any]) -> Conversation:
    """Read a conversation."""
    session = sessions_pb2.Session(
        id=string(document, "conversationId", "id"), title=string(document, "title")
    )
    conversation = Conversation(session, source=document)
    set_time(session, "create_time", document.get("createdAt"), conversation)
    set_time(session, "update_time", document.get("updatedAt"), conversation)
    options = object_of(document, "options")
    if system := string(options, "promptPrefix", "instructions"):
        session.context["system"] = system
    given = (
        document.get("messages")
        if isinstance(document.get("messages"), list)
        else document.get("messagesTree")
    )
    nodes = {string(node, "messageId") or f"node {n}": node for n, node in enumerate(_flat(given, None))}
    model = string(options, "model") or string(document, "model")

    def add(into: Conversation, item: Any) -> None:
        into.add(item, f"message {string(item, 'messageId')}", lambda: _message(item, model, into))

    Tree(nodes, conversation, parent="parentMessageId").read(None, add)
    for each in (conversation, *conversation.branches):
        fill_times(each)
    return conversation


def _flat(messages: object, parent: str | None) -> Iterator[Mapping[str, Any]]:
    """Yield every message of a nested tree, each with its parent."""
    waiting = [(item, parent) for item in objects(messages)]
    while waiting:
        item, before = waiting.pop(0)
        named = item.get("parentMessageId")
        yield {**item, "parentMessageId": None if named == _ROOT else named or before, "children": None}
        waiting = [(child, string(item, "messageId")) for child in objects(item.get("children"))] + waiting


def _message(item: Mapping[str, Any], model: str, conversation: Conversation) -> messages_pb2.Message | None:
    given = dict(item)
    if isinstance(item.get("isCreatedByUser"), bool):
        given["role"] = "user" if item["isCreatedByUser"] else "assistant"
    message = message_of(given, conversation)
    if message is None:
        return None
    if item.get("error") is True:
        message.status = messages_pb2.MESSAGE_STATUS_FAILED
    elif item.get("unfinished") is True:
        message.status = messages_pb2.MESSAGE_STATUS_INTERRUPTED
    if message.role == messages_pb2.ROLE_ASSISTANT:
        message.model = message.model or model
    return message
