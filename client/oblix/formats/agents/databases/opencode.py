"""opencode's sessions: `~/.local/share/opencode/opencode.db`, tables `session`, `message` and `part`.

What `opencode export` writes, and the files of older versions, hold the same rows (`logs.opencode_files`).

What was undone (`session.revert`) is left out. A fork has copies of the rows with their old times.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from oblix.formats.agents.databases.tables import json_in, rows_of
from oblix.formats.agents.origin import SUMMARY_NOTE, Origin, complete, conversation_of
from oblix.formats.conversations import Conversation, Fork, keys, object_of, string
from oblix.formats.moments import set_time
from oblix.formats.parts import call_part, file_part, parts_of, result_part, text_part
from oblix.formats.turns import count
from oblix.v1 import messages_pb2

Row = dict[str, Any]
Data = Mapping[str, Any]

KNOWN = keys(
    "metadata time tokens path cost mode agent variant slug directory version permission summary "
    "projectID workspaceID snapshot files hash tools format responseBody responseHeaders"
)
QUOTES = "quotes around a question, which the tool adds, taken away"
UNDONE = "messages that were undone left out"

_QUIET = ("step-start", "step-finish", "snapshot", "patch", "compaction", "agent", "retry")

COUNTS = ("SELECT count(*) FROM session",)
"""How many conversations a database has."""


def matches(tables: Mapping[str, frozenset[str]]) -> bool:
    """Return whether the tables are opencode's."""
    return "session_id" in tables.get("part", ()) and {"message", "session"} <= tables.keys()


def read(connection: sqlite3.Connection, origin: Origin) -> Iterator[Conversation]:
    """Read each session, older ones first."""
    for session in rows_of(connection, "SELECT * FROM session ORDER BY time_created, id"):
        conversation = _session(connection, session)
        if conversation.messages:
            yield conversation


def _session(connection: sqlite3.Connection, session: Row) -> Conversation:
    conversation = session_of(session)
    parts = _parts_by_message(connection, session)
    query = "SELECT * FROM message WHERE session_id = ? ORDER BY time_created, id"
    rows = (
        (row, json_in(row.get("data")) or {}, parts.get(row["id"], []))
        for row in rows_of(connection, query, session["id"])
    )
    counts = add_messages(conversation, rows, json_in(session.get("revert")))
    _find_parent(connection, session, conversation, counts)
    complete(conversation)
    return conversation


def session_of(session: Data) -> Conversation:
    """Return a session without its messages."""
    conversation = conversation_of(
        "opencode", string(session, "id"), title=string(session, "title"),
        directory=string(session, "directory"), version=string(session, "version"),
    )  # fmt: skip
    set_time(conversation.session, "create_time", session.get("time_created"), conversation)
    set_time(conversation.session, "update_time", session.get("time_updated"), conversation)
    conversation.session.archived = bool(session.get("time_archived"))
    return conversation


def add_messages(
    conversation: Conversation, rows: Iterable[tuple[Data, Data, list[Row]]], revert: object
) -> list[int]:
    """Add the messages of rows: each with its id, its data and its parts, in order.

    `revert` names the first message that was undone. Returns how many messages the first rows are: none,
    one, and so on.
    """
    undone_from = string(revert, "messageID") if isinstance(revert, dict) else ""
    source, counts = [], [0]
    for row, data, pieces in rows:
        if undone_from and string(row, "id") >= undone_from:
            conversation.note(UNDONE)
            continue
        source.append([data, *pieces])
        read_row = partial(_question_or_answer, row, data, pieces, conversation)
        conversation.add(data, string(row, "id"), read_row)
        _add_results(conversation, pieces, row)
        counts.append(len(conversation.messages))
    conversation.source = source
    return counts


def _parts_by_message(connection: sqlite3.Connection, session: Row) -> dict[Any, list[Row]]:
    found: dict[Any, list[Row]] = {}
    query = "SELECT message_id, data FROM part WHERE session_id = ? ORDER BY id"
    for row in rows_of(connection, query, session["id"]):
        data = json_in(row["data"])
        if isinstance(data, dict):
            found.setdefault(row["message_id"], []).append(data)
    return found


def _question_or_answer(
    row: Data, data: Data, pieces: list[Row], conversation: Conversation
) -> messages_pb2.Message | None:
    if data.get("summary") is True:
        for piece in pieces:
            conversation.pass_over(piece)
        conversation.leave_out(data, SUMMARY_NOTE)
        return None
    is_user = string(data, "role") == "user"
    message = messages_pb2.Message(
        id=string(row, "id"),
        role=messages_pb2.ROLE_USER if is_user else messages_pb2.ROLE_ASSISTANT,
        status=messages_pb2.MESSAGE_STATUS_COMPLETE,
    )
    for piece in pieces:
        message.parts.extend(_parts(piece, conversation))
    if is_user:
        _unquote(message, conversation)
    else:
        message.model = ":".join(filter(None, (string(data, "providerID"), string(data, "modelID"))))
        count(message, data)
        if error := object_of(data, "error"):
            message.status = messages_pb2.MESSAGE_STATUS_FAILED
            if said := string(object_of(error, "data"), "message"):
                message.parts.append(text_part(said))
    set_time(
        message,
        "create_time",
        object_of(data, "time").get("created") or row.get("time_created"),
        conversation,
    )
    return message


def _parts(piece: Row, conversation: Conversation) -> list[messages_pb2.Part]:
    kind = string(piece, "type")
    if kind in _QUIET or piece.get("ignored") is True:
        conversation.pass_over(piece)
        return []
    if piece.get("synthetic") is True:
        conversation.leave_out(piece, "texts of the program's own left out")
        return []
    if kind == "tool":
        return [call_part(piece.get("callID"), string(piece, "tool"), object_of(piece, "state").get("input"))]
    if kind == "file":
        conversation.pass_over(piece)
        return list(file_part({**piece, "mime_type": piece.get("mime")}, conversation))
    if kind == "reasoning":
        return [messages_pb2.Part(reasoning=said)] if (said := string(piece, "text")) else []
    return parts_of(piece, conversation)


def _add_results(conversation: Conversation, pieces: list[Row], row: Data) -> None:
    """Make a message of what the tools of an answer gave."""
    message = messages_pb2.Message(role=messages_pb2.ROLE_TOOL, status=messages_pb2.MESSAGE_STATUS_COMPLETE)
    for piece in pieces:
        state = object_of(piece, "state")
        if string(piece, "type") == "tool" and string(state, "status") in ("completed", "error"):
            is_error = string(state, "status") == "error"
            said = string(state, "error" if is_error else "output")
            message.parts.append(result_part(piece.get("callID"), said, is_error=is_error))
            conversation.rewritten.append(string(state, "title"))
            ended = object_of(state, "time").get("end") or row.get("time_updated")
            if not message.HasField("create_time"):
                set_time(message, "create_time", ended, conversation)
    if message.parts:
        conversation.messages.append(message)


def _unquote(message: messages_pb2.Message, conversation: Conversation) -> None:
    """`opencode run` stores several words in double quotes, older versions with a line break behind."""
    for part in message.parts:
        text = part.text.rstrip("\n")
        if len(text) > 2 and text[0] == text[-1] == '"' and " " in text:  # noqa: PLR2004 - the two quotes
            conversation.rewritten.append(part.text)
            conversation.note(QUOTES)
            part.text = text[1:-1].replace('\\"', '"')


def _find_parent(
    connection: sqlite3.Connection, session: Row, conversation: Conversation, counts: list[int]
) -> None:
    """Find the parent: a sub-agent's session names it; a fork is known by the times of its rows.

    `counts` says how many messages the first rows are: an answer with a tool's result is two.
    """
    if parent := string(session, "parent_id"):
        conversation.fork = Fork(f"opencode:{parent}", 0)
        return
    if "(fork #" not in string(session, "title"):
        return
    query = (
        "SELECT other.session_id AS parent, count(*) AS shared FROM message mine JOIN message other "
        "ON other.time_created = mine.time_created AND other.session_id < mine.session_id OR "
        "other.time_created = mine.time_created AND other.session_id > mine.session_id "
        "JOIN session ON session.id = other.session_id AND session.time_created < ? "
        "WHERE mine.session_id = ? GROUP BY other.session_id ORDER BY shared DESC, other.session_id LIMIT 1"
    )
    for row in rows_of(connection, query, session["time_created"], session["id"]):
        conversation.fork = Fork(f"opencode:{row['parent']}", counts[min(row["shared"], len(counts) - 1)])
