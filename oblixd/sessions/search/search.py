"""Full-text search over messages and titles."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from oblix.v1 import sessions_pb2 as pb

from oblixd.errors import UnavailableError
from oblixd.sessions.ledger import Ledger
from oblixd.sessions.search.asking import Question, question
from oblixd.sessions.search.finding import Finder
from oblixd.sessions.search.indexer import Indexer
from oblixd.sessions.search.layout import FILE, is_damage, is_missing

SEARCHERS = 2
"""Searches that run at the same time; more wait their turn."""
PATIENCE_S = 0.25
"""How long a search waits for what was written just before it to be indexed."""


class Search:
    """Finds messages and titles by their words. Made on the event loop that it serves.

    The index is derived from the store, follows it from a thread of its own, and is
    made anew where it is missing, stale or damaged, while everything goes on.
    """

    def __init__(self, ledger: Ledger, directory: Path) -> None:
        path = directory / FILE
        self._ledger = ledger
        self._indexer = Indexer(ledger, path)
        self._finder = Finder(ledger, path)
        self._searchers = ThreadPoolExecutor(SEARCHERS, "search")

    def start(self) -> None:
        """Begins to follow the store. Once its conversations are recovered."""
        self._ledger.changes.listeners.append(self._indexer.wake)
        self._indexer.start()

    async def close(self) -> None:
        """Ends the searches and the following. Before the store is closed."""
        await self._indexer.stop()
        await asyncio.to_thread(self._searchers.shutdown, cancel_futures=True)

    async def find(self, request: pb.SearchMessagesRequest) -> pb.SearchMessagesResponse:
        """What is found, best first.

        What was acknowledged before the call is found, unless `indexing` is set.
        InvalidArgumentError where the query is empty or longer than 1,000 characters,
        the page size, token, filter or session id is not one; NotFoundError where the
        session is unknown; DeadlineExceededError where nothing was found in a second.
        """
        asked = question(self._ledger, request)
        is_current = await self._indexer.caught_up(PATIENCE_S)
        response = await self._searched(asked)
        response.indexing |= not is_current
        return response

    async def _searched(self, asked: Question) -> pb.SearchMessagesResponse:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._searchers, self._finder.find, asked)
        except sqlite3.DatabaseError as error:
            return self._unfound(error)

    def _unfound(self, error: sqlite3.DatabaseError) -> pb.SearchMessagesResponse:
        """The answer while there is no index, or only the remains of one."""
        if is_damage(error):
            self._indexer.distrust()
        elif is_missing(error):
            self._indexer.wake()
        else:
            raise UnavailableError(
                "SEARCH_FAILED",
                f"The search index can't be read ({error}). Look at the disk, and search again.",
            ) from error
        return pb.SearchMessagesResponse(indexing=True)
