"""Crush's sessions: `.crush/crush.db` in a project's folder, tables `sessions` and `messages`.

A message's parts are JSON: `[{"type": "text", "data": {"text": "..."}}]`. The form is that of Crush's source
code; its command could not be installed where this was written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from oblix.formats import images
from oblix.formats.agents.databases.tables import json_in, rows_of
from oblix.formats.agents.origin import PROGRAM_NOTE, SUMMARY_NOTE, Origin, complete, conversation_of
from oblix.formats.conversations import Conversation, Fork, keys, object_of, objects, string
from oblix.formats.moments import set_time
from oblix.formats.parts import call_part, file_part, parts_of, result_part, text_part
from oblix.v1 import messages_pb2

Row = dict[str, Any]
Data = Mapping[str, Any]

KNOWN = keys("metadata signature thought_signature responses_data tool_id reason Path MIMEType")

_BROKEN = {
    "canceled": messages_pb2.MESSAGE_STATUS_CANCELLED,
    "error": messages_pb2.MESSAGE_STATUS_FAILED,
    "content_filter": messages_pb2.MESSAGE_STATUS_FAILED,
}
_TITLES = "title-"
"""Sessions in which the program had titles made."""

COUNTS = (f"SELECT count(*) FROM sessions WHERE message_count > 0 AND id NOT LIKE '{_TITLES}%'",)  # noqa: S608
"""How many conversations a database has."""


def matches(tables: Mapping[str, frozenset[str]]) -> bool:
    """Return whether the tables are Crush's."""
    sessions, messages = (tables.get(name, frozenset()) for name in ("sessions", "messages"))
    return {"session_id", "role", "parts"} <= messages and "parent_session_id" in sessions


def read(connection: sqlite3.Connection, origin: Origin) -> Iterator[Conversation]:
    """Read each session, older ones first."""
    directory = origin.path.absolute().parent
    project = str(directory.parent) if directory.name == ".crush" else ""
    for session in rows_of(connection, "SELECT * FROM sessions ORDER BY created_at, id"):
        if string(session, "id").startswith(_TITLES):
            continue
        conversation = conversation_of(
            "crush", string(session, "id"), title=string(session, "title"), directory=project
        )
        for name, column in (("create_time", "created_at"), ("update_time", "updated_at")):
            set_time(conversation.session, name, session.get(column), conversation)
        if parent := string(session, "parent_session_id"):
            conversation.fork = Fork(f"crush:{parent}", 0)
        conversation.source = _take(connection, session, conversation)
        complete(conversation)
        if conversation.messages:
            yield conversation


def _take(connection: sqlite3.Connection, session: Row, conversation: Conversation) -> list[object]:
    source: list[object] = []
    query = "SELECT * FROM messages WHERE session_id = ? ORDER BY created_at, rowid"
    for row in rows_of(connection, query, session["id"]):
        pieces = objects(json_in(row.get("parts")))
        source.append(pieces)
        conversation.add(pieces, f"row {row['id']}", partial(_message, row, pieces, conversation))
    return source


def _message(row: Row, pieces: list[Data], conversation: Conversation) -> messages_pb2.Message | None:
    if row.get("is_summary_message"):
        conversation.leave_out(pieces, SUMMARY_NOTE)
        return None
    role = {"user": messages_pb2.ROLE_USER, "tool": messages_pb2.ROLE_TOOL}.get(
        string(row, "role"), messages_pb2.ROLE_ASSISTANT
    )
    if string(row, "role") == "system":
        conversation.leave_out(pieces, PROGRAM_NOTE)
        return None
    message = messages_pb2.Message(
        id=string(row, "id"), role=role, status=messages_pb2.MESSAGE_STATUS_COMPLETE
    )
    for piece in pieces:
        kind, data = string(piece, "type"), object_of(piece, "data")
        message.parts.extend(_parts(kind, data, conversation))
        if kind == "finish" and role == messages_pb2.ROLE_ASSISTANT:
            message.status = _BROKEN.get(string(data, "reason"), message.status)
    if role == messages_pb2.ROLE_ASSISTANT:
        message.model = ":".join(filter(None, (string(row, "provider"), string(row, "model"))))
    set_time(message, "create_time", row.get("created_at"), conversation)
    return message


def _parts(kind: str, data: Data, conversation: Conversation) -> Iterator[messages_pb2.Part]:
    match kind:
        case "text" if data.get("hidden") is True:
            conversation.leave_out(data, PROGRAM_NOTE)
        case "reasoning":
            if thought := string(data, "thinking"):
                yield messages_pb2.Part(reasoning=thought)
        case "tool_call":
            yield call_part(data.get("id"), string(data, "name"), data.get("input"))
        case "tool_result":
            is_error = data.get("is_error") is True
            yield result_part(data.get("tool_call_id"), string(data, "content"), is_error=is_error)
            yield from _image(data, "data", "mime_type", conversation)
        case "binary":
            found = list(_image(data, "Data", "MIMEType", conversation))
            yield from found or file_part({"path": string(data, "Path")}, conversation)
        case "finish":
            if said := "\n".join(filter(None, (string(data, "message"), string(data, "details")))):
                yield text_part(said)
        case "shell_command":
            yield text_part(f"$ {string(data, 'command')}\n{string(data, 'output')}")
        case _:
            yield from parts_of({**data, "type": kind}, conversation)


def _image(data: Data, key: str, kind_key: str, conversation: Conversation) -> Iterator[messages_pb2.Part]:
    content, kind = string(data, key), string(data, kind_key)
    conversation.pass_over(data.get(key))
    if content and kind.startswith("image/"):
        part = images.inline_part(content, kind, conversation)
        yield from [part] if part is not None else []
