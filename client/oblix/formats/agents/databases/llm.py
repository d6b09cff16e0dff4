"""The `llm` command's `logs.db`: threads over a tree of messages that all threads share.

Files of versions before 0.36 have `conversations` and `responses` instead (`llm_older`); both are read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from oblix.formats.agents.databases import llm_older
from oblix.formats.agents.databases.tables import Row, json_in, rows_of, tables_of
from oblix.formats.agents.origin import Origin, complete, conversation_of
from oblix.formats.conversations import Conversation, Fork, keys, object_of, objects, string
from oblix.formats.moments import set_time
from oblix.formats.parts import call_part, parts_of, result_parts, text_part
from oblix.formats.turns import ROLES
from oblix.v1 import messages_pb2

KNOWN = keys("response_json provider_metadata hash")
_MOST_STEPS = 100_000
_ATTACHMENT = "SELECT type, path, url, content FROM attachments WHERE id = ?"
_FRAGMENT = "SELECT content, source FROM fragments WHERE id = ?"

COUNTS = ("SELECT count(*) FROM threads", "SELECT count(DISTINCT conversation_id) FROM responses")
"""How many conversations a database has."""


def matches(tables: Mapping[str, frozenset[str]]) -> bool:
    """Return whether the tables are those of `llm`."""
    return "tip_message_hash" in tables.get("threads", ()) or "conversation_id" in tables.get("responses", ())


def read(connection: sqlite3.Connection, origin: Origin) -> Iterator[Conversation]:
    """Read each thread, and each conversation of older versions."""
    tables = tables_of(connection)
    found = []
    if "threads" in tables:
        found.append(_threads(connection, tables))
    if "responses" in tables:
        found.append(llm_older.read(connection, tables.keys()))
    for each in found:
        for conversation in each:
            complete(conversation)
            if conversation.messages:
                yield conversation


def _threads(connection: sqlite3.Connection, tables: Mapping[str, frozenset[str]]) -> Iterator[Conversation]:
    for thread in rows_of(connection, "SELECT * FROM threads ORDER BY id"):
        conversation = conversation_of("llm", string(thread, "id"), title=string(thread, "name"))
        turns = list(rows_of(connection, "SELECT * FROM turns WHERE thread_id = ? ORDER BY id", thread["id"]))
        asked = {turn["parent_message_hash"]: turn for turn in turns}
        answered = {turn["tip_message_hash"]: turn for turn in turns}
        set_time(
            conversation.session, "create_time", turns[0]["datetime_utc"] if turns else None, conversation
        )
        source = []
        for message in _chain(connection, thread["tip_message_hash"]):
            parts = _part_rows(connection, message["hash"], tables)
            source.append(parts)
            added = _message(message, parts, conversation)
            turn = asked.get(message["hash"]) or answered.get(message["hash"])
            if turn is not None:
                llm_older.stamp(added, turn, conversation, is_end=message["hash"] in answered)
            if added.parts:
                conversation.messages.append(added)
        conversation.source = source
        if forked_from := string(thread, "forked_from"):
            conversation.fork = Fork(f"llm:{forked_from}", 0)
        yield conversation


def _chain(connection: sqlite3.Connection, tip: object) -> list[Row]:
    """Return the messages from the beginning to a tip."""
    found: dict[object, Row] = {}
    while tip and tip not in found and len(found) < _MOST_STEPS:
        row = next(rows_of(connection, "SELECT * FROM messages WHERE hash = ?", tip), None)
        if row is None:
            break
        found[tip] = row
        tip = row["parent_hash"]
    return list(found.values())[::-1]


def _part_rows(
    connection: sqlite3.Connection, name: object, tables: Mapping[str, frozenset[str]]
) -> list[Row]:
    rows = list(rows_of(connection, "SELECT * FROM parts WHERE message_hash = ? ORDER BY position", name))
    for row in rows:
        row["payload"] = json_in(row.get("payload"))
        references = objects(object_of(row, "payload").get("text_ref"))
        row["found"] = {
            reference["fragment"]: next(rows_of(connection, _FRAGMENT, reference["fragment"]), {})
            for reference in references
            if "fragments" in tables and isinstance(reference.get("fragment"), int)
        }
        attached = object_of(object_of(row, "payload"), "attachment")
        if attached and "attachments" in tables:
            attached = next(rows_of(connection, _ATTACHMENT, string(attached, "id")), attached)
        row["attached"] = attached
    return rows


def _message(row: Row, rows: list[Row], conversation: Conversation) -> messages_pb2.Message:
    role = ROLES.get(string(row, "role"), messages_pb2.ROLE_USER)
    message = messages_pb2.Message(role=role, status=messages_pb2.MESSAGE_STATUS_COMPLETE)
    for part in rows:
        message.parts.extend(_parts(part, conversation))
    return message


def _parts(row: Row, conversation: Conversation) -> Iterator[messages_pb2.Part]:
    payload = object_of(row, "payload")
    match string(row, "type"):
        case "tool_call":
            yield call_part(payload.get("tool_call_id"), string(payload, "name"), payload.get("arguments"))
        case "tool_result":
            is_error = bool(payload.get("exception"))
            conversation.pass_over(payload.get("exception"))
            call_id, output = payload.get("tool_call_id"), payload.get("output")
            yield from result_parts(call_id, output, conversation, is_error=is_error)
        case "reasoning":
            yield messages_pb2.Part(reasoning=string(row, "text"))
        case "attachment":
            yield from llm_older.attachment(row["attached"], conversation)
        case "text" if row.get("text") is None:
            yield from _referenced_text(payload, row["found"])
        case _:
            yield from parts_of(row.get("text") or payload, conversation)


def _referenced_text(payload: Mapping[str, Any], files: Mapping[int, Row]) -> Iterator[messages_pb2.Part]:
    """Text that was put together: typed words as they are, each file with its name."""
    for reference in objects(payload.get("text_ref")):
        number = reference.get("fragment")
        if isinstance(number, int) and (found := files.get(number)):
            yield text_part(f"[file: {string(found, 'source') or 'unnamed'}]\n{string(found, 'content')}")
        elif said := string(reference, "literal"):
            yield text_part(said.removeprefix("\n"))
