"""LangGraph's threads in SQLite: `checkpoints` and `writes`, values in msgpack that names Python classes.

The fields are read; no object is made. The newest checkpoint of a thread has all its messages, or, where the
graph keeps differences, none: then they are put together from the last snapshot on the chain of checkpoints
and the writes after it. Who goes on from an older checkpoint has made a branch.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import takewhile
from typing import Any

import msgspec

from oblix.formats.agents.databases.tables import json_in, rows_of
from oblix.formats.agents.origin import Origin, complete, conversation_of
from oblix.formats.conversations import Conversation, Fork, keys, object_of, objects, string
from oblix.formats.moments import set_time
from oblix.formats.parts import call_part, parts_of, result_parts
from oblix.formats.trees import MAX_BRANCHES, TOO_MANY
from oblix.formats.turns import ROLES
from oblix.v1 import messages_pb2

Row = dict[str, Any]

KNOWN = keys("response_metadata usage_metadata additional_kwargs artifact")
FROM_WRITES = "messages put together from single writes: what the graph removed may be among them"
_MOST_STEPS = 100_000
_ALL = "__remove_all__"

COUNTS = ("SELECT count(DISTINCT thread_id) FROM checkpoints",)
"""How many conversations a database has."""


def matches(tables: Mapping[str, frozenset[str]]) -> bool:
    """Return whether the tables are those of the checkpointer."""
    return "checkpoint_ns" in tables.get("checkpoints", ()) and "thread_id" in tables.get("writes", ())


def read(connection: sqlite3.Connection, origin: Origin) -> Iterator[Conversation]:
    """Read each thread."""
    query = "SELECT thread_id FROM checkpoints GROUP BY thread_id ORDER BY min(checkpoint_id)"
    for row in list(rows_of(connection, query)):
        conversation = _thread(connection, origin, row["thread_id"])
        complete(conversation)
        if conversation.messages:
            yield conversation


def _thread(connection: sqlite3.Connection, origin: Origin, thread: object) -> Conversation:
    """Read a thread: the branch of the newest checkpoint, and the other branches."""
    query = (
        "SELECT checkpoint_id AS id, parent_checkpoint_id AS parent FROM checkpoints WHERE thread_id = ? "
        "AND checkpoint_ns = '' ORDER BY checkpoint_id DESC LIMIT ?"
    )
    parents = {row["id"]: row["parent"] for row in rows_of(connection, query, thread, _MOST_STEPS)}
    steps = _Steps(connection, thread, parents)
    inner = set(parents.values())
    leaves = [name for name in parents if name not in inner]
    conversation = steps.read(f"{origin.digest}:{thread}", leaves[0] if leaves else None)
    main = [message.id for message in conversation.messages]
    for leaf in leaves[1 : MAX_BRANCHES + 1]:
        other = steps.read(f"{conversation.session.id}#{leaf}", leaf)
        names = [message.id for message in other.messages]
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(main, names, strict=False)))
        if len(names) > shared:
            other.fork = Fork("", shared)
            complete(other)
            conversation.branches.append(other)
    if len(leaves) > MAX_BRANCHES + 1:
        conversation.note(TOO_MANY, len(leaves) - MAX_BRANCHES - 1)
    return conversation


class _Steps:
    """The checkpoints of one thread."""

    def __init__(
        self, connection: sqlite3.Connection, thread: object, parents: Mapping[object, object]
    ) -> None:
        self._connection = connection
        self._thread = thread
        self._parents = parents

    def read(self, name: str, leaf: object) -> Conversation:
        """Return the conversation that a checkpoint ends."""
        conversation = conversation_of("langgraph", name, title="")
        chain = list(self._chain(leaf))
        newest = object_of(chain[0], "value") if chain else {}
        times = _times(chain)
        messages: list[Mapping[str, Any]] = objects(object_of(newest, "channel_values").get("messages"))
        if not messages:
            messages = self._written_messages(chain, times)
            if messages:
                conversation.note(FROM_WRITES)
        for number, message in enumerate(messages, 1):
            read_message = partial(_message, message, times, newest, conversation)
            conversation.add(message, f"message {number}", read_message)
        conversation.source = messages
        return conversation

    def _chain(self, name: object) -> Iterator[Row]:
        """Yield a checkpoint and those that led to it."""
        query = (
            "SELECT type, checkpoint FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = '' "
            "AND checkpoint_id = ?"
        )
        seen: set[object] = set()
        while name in self._parents and name not in seen:
            seen.add(name)
            for row in rows_of(self._connection, query, self._thread, name):
                yield {"id": name, "value": _decode(row["type"], row["checkpoint"])}
            name = self._parents[name]

    def _written_messages(self, chain: list[Row], times: dict[str, Any]) -> list[Mapping[str, Any]]:
        """Return the last snapshot with what was written after it, each message once.

        Adds the time of each to `times`.
        """
        found: dict[str, Mapping[str, Any]] = {}
        first: dict[str, Any] = {}
        query = (
            "SELECT type, value FROM writes WHERE thread_id = ? AND checkpoint_ns = '' AND checkpoint_id = ? "
            "AND channel = 'messages' ORDER BY task_id, idx"
        )
        for checkpoint in reversed(chain):
            value = object_of(checkpoint, "value")
            if snapshot := objects(object_of(value, "channel_values").get("messages")):
                found = {string(message, "id") or str(n): message for n, message in enumerate(snapshot)}
            for row in rows_of(self._connection, query, self._thread, checkpoint["id"]):
                written = _decode(row["type"], row["value"])
                for message in objects(written if isinstance(written, list) else [written]):
                    _apply(message, found)
                    first.setdefault(string(message, "id"), value.get("ts"))
        times.update(first)
        return list(found.values())


def _apply(message: Mapping[str, Any], found: dict[str, Mapping[str, Any]]) -> None:
    """Add, replace or remove a message."""
    name = string(message, "id")
    if string(message, "type") == "remove":
        found.pop(name, None)
        if name == _ALL:
            found.clear()
    else:
        found[name or str(len(found))] = message


def _times(chain: list[Row]) -> dict[str, Any]:
    """Return when each message was there first: messages have no times, checkpoints have."""
    found: dict[str, Any] = {}
    for checkpoint in reversed(chain):
        value = object_of(checkpoint, "value")
        for message in objects(object_of(value, "channel_values").get("messages")):
            found.setdefault(string(message, "id"), value.get("ts"))
    return found


def _message(
    value: Mapping[str, Any], times: Mapping[str, Any], newest: Mapping[str, Any], conversation: Conversation
) -> messages_pb2.Message | None:
    kind = string(value, "type")
    role = ROLES.get(kind.lower().removesuffix("messagechunk").removesuffix("message"))
    if role is None:
        conversation.leave_out(value, f"messages of the type {kind[:40]!r} left out")
        return None
    message = messages_pb2.Message(
        id=string(value, "id"), role=role, status=messages_pb2.MESSAGE_STATUS_COMPLETE
    )
    content = value.get("content")
    if role == messages_pb2.ROLE_TOOL:
        is_error = value.get("status") == "error"
        message.parts.extend(
            result_parts(value.get("tool_call_id"), content, conversation, is_error=is_error)
        )
    else:
        if thought := string(object_of(value, "additional_kwargs"), "reasoning_content"):
            message.parts.append(messages_pb2.Part(reasoning=thought))
        message.parts.extend(parts_of(content, conversation))
    named = {part.tool_call.call_id for part in message.parts if part.HasField("tool_call")}
    for call in objects(value.get("tool_calls")):
        if string(call, "id") not in named:
            message.parts.append(call_part(call.get("id"), string(call, "name"), call.get("args")))
    if role == messages_pb2.ROLE_ASSISTANT:
        message.model = string(object_of(value, "response_metadata"), "model_name", "model")
        usage = object_of(value, "usage_metadata")
        for name in ("input_tokens", "output_tokens"):
            if isinstance(usage.get(name), int) and 0 < usage[name] < 2**53:
                setattr(message.usage, name, usage[name])
    set_time(message, "create_time", times.get(string(value, "id")) or newest.get("ts"), conversation)
    return message


def _decode(kind: object, data: object) -> Any:
    if kind == "json":
        return json_in(data)
    if kind != "msgpack" or not isinstance(data, bytes):
        return None
    try:
        return _fields(msgspec.msgpack.decode(data, ext_hook=_extension), 0)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def _extension(_code: int, data: memoryview) -> Any:
    """Return an object of a class: (module, name, fields, ...). A list, told from others by its mark."""
    try:
        return {"__object__": msgspec.msgpack.decode(data, ext_hook=_extension)}
    except (msgspec.DecodeError, RecursionError):
        return None


def _fields(value: Any, depth: int) -> Any:
    """Return the value with each object as its fields, and its class under `type` if that is free."""
    if depth > 60:  # noqa: PLR2004 - no graph nests so deeply
        return None
    if isinstance(value, list):
        return [_fields(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    inner = value.get("__object__")
    if isinstance(inner, list) and inner and not isinstance(inner[0], str):
        return _fields(inner, depth + 1)  # a snapshot: the value alone, without a class
    if isinstance(inner, list) and len(inner) > 2:  # noqa: PLR2004 - module, name, fields
        fields = inner[2]
        if isinstance(fields, dict):
            return {"type": str(inner[1]), **_fields(fields, depth + 1)}
        return _fields(fields, depth + 1) if not isinstance(fields, str) else fields
    if "__object__" in value:
        return None
    return {
        key if isinstance(key, str) else json.dumps(key, default=str): _fields(item, depth + 1)
        for key, item in value.items()
    }
