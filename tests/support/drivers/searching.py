"""Sessions with the search over them, and short ways to ask it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oblix.v1 import sessions_pb2
from support.drivers.conversations import say, store_in
from support.drivers.waiting import PAUSE_S, WAIT_S

from oblixd.sessions import Sessions
from oblixd.sessions.search import Search


@dataclass
class Library:
    """What a test of the search needs."""

    sessions: Sessions
    search: Search
    directory: Path

    @property
    def index(self) -> Path:
        """The index's file."""
        return self.directory / "search" / "index.sqlite3"

    async def session(self, *texts: str, **fields: Any) -> str:
        """A session of so many messages."""
        session = await self.sessions.create(sessions_pb2.Session(**fields))
        if texts:
            await self.sessions.append(session.id, [say(text) for text in texts])
        return session.id

    async def ask(self, query: str, **fields: Any) -> sessions_pb2.SearchMessagesResponse:
        """The answer, once everything is indexed."""
        until = time.monotonic() + WAIT_S
        while (answer := await self.once(query, **fields)).indexing:
            assert time.monotonic() < until, "it is never indexed"
            await asyncio.sleep(PAUSE_S)
        return answer

    async def once(self, query: str, **fields: Any) -> sessions_pb2.SearchMessagesResponse:
        """The answer as it is now."""
        return await self.search.find(sessions_pb2.SearchMessagesRequest(query=query, **fields))

    async def find(self, query: str, **fields: Any) -> list[sessions_pb2.SearchHit]:
        """The hits of the first page."""
        return list((await self.ask(query, **fields)).hits)

    async def snippets(self, query: str, **fields: Any) -> list[str]:
        """What is shown of the first page's hits."""
        return [hit.snippet for hit in await self.find(query, **fields)]


def pin(index: Path) -> Path:
    """Another name for an index's file, so that its inode is given to no other: to be compared later."""
    name = index.parent.parent / "pinned"
    name.hardlink_to(index)
    return name


@asynccontextmanager
async def library_in(directory: Path) -> AsyncIterator[Library]:
    """Sessions and their search, closed afterwards."""
    async with store_in(directory / "store") as store:
        sessions = Sessions(store)
        await sessions.recover()
        search = Search(sessions.db, directory / "search")
        search.start()
        try:
            yield Library(sessions, search, directory)
        finally:
            await search.close()
