"""hermes-agent's sessions: `~/.hermes/state.db`, tables `sessions` and `messages`.

A compression marks the rows that were said (`compacted`) and adds copies of those that are kept, and a
summary in one of them. What was said are the marked rows, then those after them without a marked twin.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from oblix.formats.agents.databases.tables import json_in, rows_of
from oblix.formats.agents.origin import SUMMARY_NOTE, Origin, complete, conversation_of
from oblix.formats.conversations import Conversation, Fork, keys, objects, string
from oblix.formats.moments import set_time
from oblix.formats.turns import message_of
from oblix.v1 import messages_pb2

Row = dict[str, Any]

KNOWN = keys(
    "model_config system_prompt api_content reasoning_details codex_reasoning_items codex_message_items"
)

_SUMMARY_MARKS = ("[CONTEXT COMPACTION", "COMPACTION SUMMARY")

COUNTS = ("SELECT count(*) FROM sessions",)
"""How many conversations a database has."""


def matches(tables: Mapping[str, frozenset[str]]) -> bool:
    """Return whether the tables are those of hermes."""
    return {"role", "compacted", "active"} <= tables.get("messages", frozenset()) and "sessions" in tables


def read(connection: sqlite3.Connection, origin: Origin) -> Iterator[Conversation]:
    """Read each session."""
    for session in rows_of(connection, "SELECT * FROM sessions ORDER BY started_at, id"):
        conversation = conversation_of(
            "hermes", string(session, "id"), title=string(session, "title"), directory=string(session, "cwd")
        )
        set_time(conversation.session, "create_time", session.get("started_at"), conversation)
        rows = list(
            rows_of(connection, "SELECT * FROM messages WHERE session_id = ? ORDER BY id", session["id"])
        )
        said = list(_visible_rows(rows, conversation))
        conversation.source = said
        model = string(session, "model")
        for row in said:
            conversation.add(row, f"row {row['id']}", partial(_message, row, model, conversation))
        if parent := string(session, "parent_session_id"):
            conversation.fork = Fork(f"hermes:{parent}", 0)
        complete(conversation)
        if conversation.messages:
            yield conversation


def _visible_rows(rows: list[Row], conversation: Conversation) -> Iterator[Row]:
    marked = {(row["role"], row["timestamp"]) for row in rows if row["compacted"]}
    for row in rows:
        is_copy = not row["compacted"] and (row["role"], row["timestamp"]) in marked
        if not row["compacted"] and not row["active"]:
            conversation.note("messages that were undone left out")
        elif is_copy or any(mark in str(row["content"])[:400] for mark in _SUMMARY_MARKS):
            if any(mark in str(row["content"]) for mark in _SUMMARY_MARKS):
                conversation.note(SUMMARY_NOTE)
        else:
            yield {key: value for key, value in row.items() if value not in (None, "")}


def _message(row: Row, model: str, conversation: Conversation) -> messages_pb2.Message | None:
    calls = json_in(row.get("tool_calls"))
    given = {**row, "tool_calls": objects(calls), "id": f"{row['id']}"}
    message = message_of(given, conversation)
    if message is not None and message.role == messages_pb2.ROLE_ASSISTANT:
        message.model = model
    return message
