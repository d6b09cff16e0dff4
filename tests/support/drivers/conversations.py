"""Short ways to say what the tests of stores and sessions say often."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from google.protobuf.struct_pb2 import Struct
from oblix.v1 import messages_pb2, sessions_pb2

from oblixd.sessions import TABLE_NAMES, RetentionConfig, Sessions
from oblixd.sessions.storage.keys import now_us
from oblixd.sessions.storage.retention_rules import DEFAULT
from oblixd.store import Store
from oblixd.usage import TABLE_NAMES as USAGE_TABLES

MAP_SIZE = 1 << 30
TABLES = TABLE_NAMES + USAGE_TABLES
"""What a daemon's store has."""


@asynccontextmanager
async def store_in(
    directory: Path, tables: tuple[str, ...] = TABLES, map_size: int = MAP_SIZE
) -> AsyncIterator[Store]:
    """An open store, closed afterwards."""
    store = await Store.open(directory, tables, map_size=map_size)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def sessions_in(
    directory: Path, clock: Callable[[], int] = now_us, keeping: RetentionConfig = DEFAULT
) -> AsyncIterator[Sessions]:
    """Sessions in a store of their own, recovered as at a daemon's start."""
    async with store_in(directory) as store:
        sessions = Sessions(store, clock, keeping)
        await sessions.recover()
        yield sessions


def say(
    text: str, role: messages_pb2.Role.ValueType = messages_pb2.ROLE_USER, **fields: Any
) -> messages_pb2.Message:
    """A message of one text."""
    return messages_pb2.Message(role=role, parts=[messages_pb2.Part(text=text)], **fields)


def struct(**values: Any) -> Struct:
    """A Struct of a dict's values."""
    result = Struct()
    result.update(values)
    return result


def text_of(message: messages_pb2.Message) -> str:
    """The joined text of a message."""
    return "".join(part.text for part in message.parts)


def texts(messages: list[messages_pb2.Message]) -> list[str]:
    """The texts of messages."""
    return [text_of(message) for message in messages]


def all_messages(sessions: Sessions, session_id: str, page_size: int = 1000) -> list[messages_pb2.Message]:
    """Every message of a session, page after page."""
    found: list[messages_pb2.Message] = []
    token = ""
    while True:
        page, token = sessions.messages(session_id, page_size=page_size, page_token=token, newest_first=False)
        found += page
        if not token:
            return found


def all_sessions(sessions: Sessions, page_size: int = 1000, **wanted: Any) -> list[sessions_pb2.Session]:
    """Every session that a filter finds, page after page."""
    found: list[sessions_pb2.Session] = []
    token = ""
    while True:
        page, token = sessions.list(page_size=page_size, page_token=token, filter=struct(**wanted))
        found += page
        if not token:
            return found
