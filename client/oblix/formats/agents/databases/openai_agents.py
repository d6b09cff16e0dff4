"""Sessions of the OpenAI Agents SDK in SQLite: `agent_messages`, and `message_structure` with branches."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from oblix.formats.agents.databases.tables import json_in, rows_of, tables_of
from oblix.formats.agents.origin import Origin, complete, conversation_of
from oblix.formats.chats import openai
from oblix.formats.conversations import Conversation, Fork, keys
from oblix.formats.moments import set_time
from oblix.v1 import messages_pb2

KNOWN = keys("status provider_data logprobs")
_NO_ID = "__fake_id__"
_MAIN = "main"

COUNTS = ("SELECT count(DISTINCT session_id) FROM agent_messages",)
"""How many conversations a database has."""


def matches(tables: Mapping[str, frozenset[str]]) -> bool:
    """Return whether the tables are those of the SDK."""
    return "message_data" in tables.get("agent_messages", ())


def read(connection: sqlite3.Connection, origin: Origin) -> Iterator[Conversation]:
    """Read each session; each branch of one as a fork."""
    has_structure = "branch_id" in tables_of(connection).get("message_structure", ())
    query = "SELECT session_id FROM agent_messages GROUP BY session_id ORDER BY min(id)"
    for row in list(rows_of(connection, query)):
        branches = _branches(connection, row["session_id"]) if has_structure else []
        main = _conversation(connection, origin, row["session_id"], None if not branches else _MAIN)
        if main.messages:
            yield main
        for branch in branches:
            if branch != _MAIN:
                fork = _conversation(connection, origin, row["session_id"], branch)
                shared = sum(a == b for a, b in zip(main.messages, fork.messages, strict=False))
                fork.fork = Fork(main.session.source_id, shared)
                yield fork


def _branches(connection: sqlite3.Connection, session: object) -> list[str]:
    query = "SELECT branch_id FROM message_structure WHERE session_id = ? GROUP BY branch_id ORDER BY min(id)"
    return [str(row["branch_id"]) for row in rows_of(connection, query, session)]


def _conversation(
    connection: sqlite3.Connection, origin: Origin, session: object, branch: str | None
) -> Conversation:
    suffix = f"#{branch}" if branch not in (None, _MAIN) else ""
    conversation = conversation_of("openai-agents", f"{origin.digest}:{session}{suffix}", title=str(session))
    query = "SELECT id, message_data, created_at FROM agent_messages WHERE session_id = ? ORDER BY id"
    values: tuple[object, ...] = (session,)
    if branch is not None:
        query = (
            "SELECT m.id, m.message_data, m.created_at FROM message_structure s JOIN agent_messages m "
            "ON m.id = s.message_id WHERE s.session_id = ? AND s.branch_id = ? ORDER BY s.sequence_number"
        )
        values = (session, branch)
    source: list[Any] = []
    for row in rows_of(connection, query, *values):
        item = json_in(row["message_data"])
        source.append(item)
        before = len(conversation.messages)
        conversation.add(item, f"row {row['id']}", partial(_message, item, conversation))
        for message in conversation.messages[before:]:
            message.id = message.id if message.id and message.id != _NO_ID else f"row-{row['id']}"
            set_time(message, "create_time", row["created_at"], conversation)
    conversation.source = source
    complete(conversation)
    return conversation


def _message(item: object, conversation: Conversation) -> messages_pb2.Message | None:
    return openai.turn(item, conversation)
