"""Grok's export: `prod-grok-backend.json`, `{"conversations": [{"conversation": ..., "responses": [...]}]}`.

Each message is a `response` that names the one before it (`parent_response_id`), so there are branches. The
form is that which public readers of the export describe; no export was at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oblix.formats.conversations import Conversation, fill_times, keys, object_of, objects, string
from oblix.formats.moments import set_time
from oblix.formats.parts import file_part, parts_of, sources, text_part
from oblix.formats.trees import Tree
from oblix.formats.turns import role_in
from oblix.v1 import messages_pb2, sessions_pb2

Item = Mapping[str, Any]

KNOWN = keys(
    "metadata share_link query query_type web_search_results steps agent_thinking_traces file_attachments "
    "cited_web_search_results temporary leaf_response_id media_types summary"
)


def matches(value: object) -> bool:
    """Return whether a value is a conversation of Grok's."""
    if not isinstance(value, dict) or not isinstance(value.get("conversation"), dict):
        return False
    answers = objects(value.get("responses"))
    return bool(answers) and "response" in answers[0]


def read(document: Item) -> Conversation:
    """Read a conversation: the branch of its newest message, and the other ones."""
    about = object_of(document, "conversation")
    session = sessions_pb2.Session(id=string(about, "id"), title=string(about, "title"))
    conversation = Conversation(session, source=document)
    for name, key in (("create_time", "create_time"), ("update_time", "modify_time")):
        set_time(session, name, about.get(key), conversation)
    responses = [object_of(each, "response") for each in objects(document.get("responses"))]
    nodes = {string(each, "_id") or f"message {n}": each for n, each in enumerate(responses)}

    def add(into: Conversation, response: Any) -> None:
        into.add(response, f"message {string(response, '_id')}", lambda: _message(response, into))

    Tree(nodes, conversation, parent="parent_response_id").read(next(reversed(nodes), None), add)
    for each in (conversation, *conversation.branches):
        fill_times(each)
    return conversation


def _message(response: Item, conversation: Conversation) -> messages_pb2.Message:
    role = role_in(response) or messages_pb2.ROLE_ASSISTANT
    message = messages_pb2.Message(
        id=string(response, "_id"), role=role, status=messages_pb2.MESSAGE_STATUS_COMPLETE
    )
    if thought := string(response, "thinking_trace"):
        message.parts.append(messages_pb2.Part(reasoning=thought))
    message.parts.extend(parts_of(response.get("message"), conversation))
    attached = response.get("file_attachments")
    for each in attached if isinstance(attached, list) else []:
        given = each if isinstance(each, dict) else {"id": str(each)}
        message.parts.extend(file_part({**given, "content": ""}, conversation))
    if role == messages_pb2.ROLE_ASSISTANT:
        if found := sources(response.get("cited_web_search_results")):
            message.parts.append(text_part(f"\n\nSources:\n{found}"))
        model = string(response, "model")
        message.model = f"grok:{model}" if model else ""
    set_time(message, "create_time", response.get("create_time"), conversation)
    return message
