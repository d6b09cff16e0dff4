"""Goose's sessions: `~/.local/share/goose/sessions/sessions.db`, and the older logs `NAME.jsonl` beside it.

The form is that of Goose's source code; its command could not be installed where this was written. A
compaction hides the summary from the person (`userVisible`) and the older messages from the model.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from oblix.formats.agents.databases.tables import json_in, rows_of
from oblix.formats.agents.origin import (
    PROGRAM_NOTE,
    SUMMARY_NOTE,
    Origin,
    complete,
    conversation_of,
    is_asked,
)
from oblix.formats.conversations import Conversation, keys, object_of, objects, string
from oblix.formats.moments import set_time
from oblix.formats.parts import call_part, parts_of, result_parts
from oblix.v1 import messages_pb2

Item = Mapping[str, Any]

KNOWN = keys("annotations signature metadata _meta")

_QUIET = (
    "toolConfirmationRequest",
    "redactedThinking",
    "contextLengthExceeded",
    "summarizationRequested",
    "actionRequired",
    "systemNotification",
)
_CALLS = ("toolRequest", "frontendToolRequest")

COUNTS = ("SELECT count(DISTINCT session_id) FROM messages",)
"""How many conversations a database has."""


def matches(tables: Mapping[str, frozenset[str]] | Sequence[Any]) -> bool:
    """Return whether the tables are Goose's, or the first line is the head of one of its logs."""
    if isinstance(tables, Mapping):
        return {"content_json", "created_timestamp"} <= tables.get("messages", frozenset())
    first = tables[0] if tables and isinstance(tables[0], dict) else {}
    return "working_dir" in first and "message_count" in first


def read(connection: sqlite3.Connection, origin: Origin) -> Iterator[Conversation]:
    """Read each session, older ones first."""
    for session in rows_of(connection, "SELECT * FROM sessions ORDER BY created_at, id"):
        query = "SELECT * FROM messages WHERE session_id = ? ORDER BY created_timestamp, id"
        items = [
            {
                "id": str(row["id"]),
                "role": row["role"],
                "created": row["created_timestamp"],
                "content": json_in(row["content_json"]),
                "metadata": json_in(row.get("metadata_json")),
            }
            for row in rows_of(connection, query, session["id"])
        ]
        name = string(session, "id")
        # A name such as 20261128_1 is one machine's own: the next machine has it, too.
        yield from _conversation(session, f"{name}-{origin.digest[:6]}", items)


def read_log(lines: Sequence[Any], origin: Origin) -> list[Conversation]:
    """Read a log of the versions before there was a database."""
    about, *items = objects(lines)
    return list(_conversation(about, f"{origin.path.stem}-{origin.digest[:6]}", items))


def _conversation(about: Item, name: str, items: Sequence[Item]) -> Iterator[Conversation]:
    conversation = conversation_of(
        "goose", name, title=string(about, "name", "description"), directory=string(about, "working_dir")
    )
    for field in ("create_time", "update_time"):
        column = "created_at" if field == "create_time" else "updated_at"
        set_time(conversation.session, field, about.get(column), conversation)
    conversation.source = [item.get("content") for item in items]
    for number, item in enumerate(items, 1):
        conversation.add(item, f"message {number}", partial(_message, item, conversation))
    complete(conversation)
    if is_asked(conversation):
        yield conversation


def _message(item: Item, conversation: Conversation) -> messages_pb2.Message | None:
    content = objects(item.get("content"))
    if object_of(item, "metadata").get("userVisible") is False:
        is_user = string(item, "role") == "user"
        conversation.leave_out(item.get("content"), PROGRAM_NOTE if is_user else SUMMARY_NOTE)
        return None
    parts = [part for block in content for part in _parts(block, conversation)]
    role = messages_pb2.ROLE_ASSISTANT
    if string(item, "role") == "user":
        is_result = any(part.HasField("tool_result") for part in parts)
        role = messages_pb2.ROLE_TOOL if is_result else messages_pb2.ROLE_USER
    message = messages_pb2.Message(
        id=string(item, "id"), role=role, status=messages_pb2.MESSAGE_STATUS_COMPLETE, parts=parts
    )
    set_time(message, "create_time", item.get("created"), conversation)
    return message


def _parts(block: Item, conversation: Conversation) -> list[messages_pb2.Part]:
    kind = string(block, "type")
    if kind in _QUIET:
        conversation.pass_over(block)
        return []
    if kind in _CALLS:
        call = object_of(object_of(block, "toolCall"), "value")
        return [call_part(block.get("id"), string(call, "name"), call.get("arguments"))]
    if kind == "toolResponse":
        result = object_of(block, "toolResult")
        value = result.get("value", result.get("error"))
        is_error = string(result, "status") == "error" or (
            isinstance(value, dict) and value.get("isError") is True
        )
        said = value.get("content") if isinstance(value, dict) else value
        return result_parts(block.get("id"), said, conversation, is_error=is_error)
    return parts_of(block, conversation)
