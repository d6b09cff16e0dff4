"""qwen-code's chats: `~/.qwen/projects/FOLDER/chats/SESSION.jsonl`, lines that name their parents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oblix.formats.agents.origin import PROGRAM_NOTE, Origin, complete, conversation_of, is_asked
from oblix.formats.conversations import Conversation, keys, object_of, objects, string
from oblix.formats.moments import set_time
from oblix.formats.parts import parts_of
from oblix.formats.trees import Tree
from oblix.formats.turns import count
from oblix.v1 import messages_pb2

Line = Mapping[str, Any]

KNOWN = keys("systemPayload toolCallResult cwd version subtype")

_ROLES = {
    "user": messages_pb2.ROLE_USER,
    "assistant": messages_pb2.ROLE_ASSISTANT,
    "tool_result": messages_pb2.ROLE_TOOL,
}


def matches(lines: Sequence[Any]) -> bool:
    """Return whether one of the first lines looks like a chat's: those of the program can say less."""
    return any(_is_line(line) for line in objects(lines[:20]))


def _is_line(line: Line) -> bool:
    return {"uuid", "parentUuid", "sessionId", "type"} <= line.keys() and (
        "provenance" in line or "parts" in object_of(line, "message") or "systemPayload" in line
    )


def read(lines: Sequence[Any], origin: Origin) -> list[Conversation]:
    """Read a chat, and the branches that it has."""
    about = objects(lines)[0] if objects(lines) else {}
    conversation = conversation_of(
        "qwen-code",
        string(about, "sessionId"),
        directory=string(about, "cwd"),
        version=string(about, "version"),
    )
    conversation.source = list(lines)
    set_time(conversation.session, "create_time", about.get("timestamp"), conversation)
    nodes = {string(line, "uuid"): line for line in objects(lines) if string(line, "uuid")}
    leaf = next((name for name in reversed(nodes) if string(nodes[name], "type") in _ROLES), None)

    def add(into: Conversation, line: Any) -> None:
        into.add(line, f"line {line.get('uuid')}", lambda: _message(line, into))

    Tree(nodes, conversation, parent="parentUuid").read(leaf, add)
    for each in (conversation, *conversation.branches):
        complete(each)
    return [conversation] if is_asked(conversation) else []


def _message(line: Line, conversation: Conversation) -> messages_pb2.Message | None:
    role = _ROLES.get(string(line, "type"))
    if role is None:
        conversation.pass_over(line)
        return None
    if role == messages_pb2.ROLE_USER and string(line, "provenance") not in ("", "real_user"):
        conversation.leave_out(line, PROGRAM_NOTE)
        return None
    parts = parts_of(object_of(line, "message").get("parts"), conversation)
    message = messages_pb2.Message(
        id=string(line, "uuid"), role=role, status=messages_pb2.MESSAGE_STATUS_COMPLETE, parts=parts
    )
    if role == messages_pb2.ROLE_ASSISTANT:
        message.model = string(line, "model")
        count(message, line)
    set_time(message, "create_time", line.get("timestamp"), conversation)
    return message
