"""Full-text search over messages and titles.

An answer: what of the rows that match is shown, and how.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path

from oblix.v1 import messages_pb2, sessions_pb2

from oblixd import background
from oblixd.errors import DataLossError, UnavailableError
from oblixd.sessions.listing import page_token
from oblixd.sessions.search.indexer import Indexer
from oblixd.sessions.search.ranking import Ranked, Scope, rank
from oblixd.sessions.search.request import SearchRequest, search_request
from oblixd.sessions.search.schema import FILE, TITLE, is_damage, is_missing, sequence_at, standing
from oblixd.sessions.search.snippets import snippet
from oblixd.sessions.search.tokenizer import text_of
from oblixd.sessions.storage.db import SessionDb
from oblixd.sessions.storage.headers import Entry
from oblixd.sessions.storage.index import split
from oblixd.sessions.storage.keys import timestamp, unpack
from oblixd.sessions.storage.schema import number_key
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

logger = logging.getLogger(__name__)

_POSITION_BYTES = 4


class Finder:
    """Answers questions, each on one thread from its beginning to its end."""

    def __init__(self, db: SessionDb, path: Path) -> None:
        self._db = db
        self._path = path

    def find(self, request: SearchRequest) -> sessions_pb2.SearchMessagesResponse:
        """Return the hits of one page. sqlite3.DatabaseError where the index is missing or damaged."""
        response = sessions_pb2.SearchMessagesResponse()
        if not request.query.units:
            return response
        shown = _HitReader(self._db, request)
        wanted = shown.is_wanted if request.labels else None
        found = rank(self._path, request.query.expression, Scope(request.standings, request.number, wanted))
        for position in range(_next_position(found, request.position), len(found)):
            if len(response.hits) == request.size:
                response.next_page_token = page_token(request.identity, _place(found, position - 1))
                break
            if hit := shown.hit(found[position]):
                response.hits.append(hit)
        return response


def _place(found: list[Ranked], at: int) -> bytes:
    return at.to_bytes(_POSITION_BYTES, "big") + number_key(found[at].row)


def _next_position(found: list[Ranked], position: bytes) -> int:
    """Return where the next page begins: behind the last row of the page before, wherever that is now."""
    if not position:
        return 0
    at, row = (
        int.from_bytes(position[:_POSITION_BYTES], "big"),
        int.from_bytes(position[_POSITION_BYTES:], "big"),
    )
    return next((now for now, hit in enumerate(found) if hit.row == row), at) + 1


class _HitReader:
    """What one search may show. The index may be behind; what the store says counts."""

    def __init__(self, db: SessionDb, request: SearchRequest) -> None:
        self._db = db
        self._request = request
        self._matches_filter: dict[int, bool] = {}
        self._entries: dict[int, Entry | None] = {}

    def is_wanted(self, number: int) -> bool:
        """Return whether a session passes the filter."""
        if number not in self._matches_filter:
            try:
                self._matches_filter[number] = self._request.labels.issubset(self._labels(number))
            except DataLossError as error:
                logger.warning("a session is left out of a search: %s", error.message)
                self._matches_filter[number] = False
        return self._matches_filter[number]

    def _labels(self, number: int) -> list[bytes]:
        with self._db.store.read() as txn:
            payload = self._db.tables.progress.get(txn, number_key(number))
        return split(records.ProgressRecord.FromString(payload or b"").labels)

    def hit(self, found: Ranked) -> sessions_pb2.SearchHit | None:
        """Return the hit of a row, or None where there is nothing (any more) to be shown."""
        number, sequence = sequence_at(found.row)
        try:
            entry, record = self._find_row(number, sequence)
        except DataLossError as error:
            logger.warning("a hit is left out of a search: %s", error.message)
            return None
        if entry is None:
            return None
        hit = self._of_title(entry) if sequence == TITLE else self._of_message(record)
        if hit is not None:
            hit.session_id, hit.title = entry.header.id, entry.header.title
            hit.sequence, hit.score = sequence, found.score
        return hit

    def _find_row(self, number: int, sequence: int) -> tuple[Entry | None, records.MessageRecord | None]:
        with self._db.store.read() as txn:
            entry = self._entry(txn, number)
            return entry, self._db.message_table.get(txn, number, sequence) if entry else None

    def _entry(self, txn: Transaction, number: int) -> Entry | None:
        """Return a session as it is now; None where it is not there, or not asked for."""
        if number not in self._entries:
            self._entries[number] = self._read(txn, number)
        return self._entries[number]

    def _read(self, txn: Transaction, number: int) -> Entry | None:
        if self._db.tables.sessions.get(txn, number_key(number)) is None:
            return None
        entry = self._db.headers.entry_numbered(txn, number)
        is_asked_for = standing(entry.header) in self._request.standings and self._request.labels.issubset(
            split(entry.progress.labels)
        )
        return entry if is_asked_for else None

    def _of_title(self, entry: Entry) -> sessions_pb2.SearchHit | None:
        text, spans = snippet(entry.header.title, self._request.query)
        # It may have been changed since it was indexed.
        if not spans:
            return None
        return sessions_pb2.SearchHit(
            create_time=timestamp(entry.progress.update_us), snippet=text, spans=spans
        )

    def _of_message(self, record: records.MessageRecord | None) -> sessions_pb2.SearchHit | None:
        if record is None:
            return None
        text, spans = snippet(text_of(record), self._request.query)
        # It may have been edited since it was indexed.
        if record.version and not spans:
            return None
        return sessions_pb2.SearchHit(
            message_id=unpack(record.id),
            role=messages_pb2.Role.ValueType(record.role),
            create_time=timestamp(record.create_us),
            snippet=text,
            spans=spans,
        )


SEARCHERS = 2
"""Searches that run at the same time; more wait their turn."""
WAIT_S = 0.25
"""How long a search waits for what was written just before it to be indexed."""


class Search:
    """Finds messages and titles by their words. Made on the event loop that it serves.

    The index is derived from the store, follows it from a thread of its own, and is
    made anew where it is missing, stale or damaged, while everything goes on.
    """

    def __init__(self, db: SessionDb, directory: Path) -> None:
        path = directory / FILE
        self._db = db
        self._indexer = Indexer(db, path)
        self._finder = Finder(db, path)
        self._searchers = background.thread_pool(SEARCHERS, "search")

    def start(self) -> None:
        """Begins to follow the store. Once its conversations are recovered."""
        self._db.changes.listeners.append(self._indexer.wake)
        self._indexer.start()

    async def close(self) -> None:
        """End the searches and the following. Before the store is closed."""
        await self._indexer.stop()
        await asyncio.to_thread(self._searchers.shutdown, cancel_futures=True)

    async def find(self, request: sessions_pb2.SearchMessagesRequest) -> sessions_pb2.SearchMessagesResponse:
        """Return what is found, best first.

        What was acknowledged before the call is found, unless `indexing` is set.
        InvalidArgumentError where the query is empty or longer than 1,000 characters,
        the page size, token, filter or session id is not one; NotFoundError where the
        session is unknown; DeadlineExceededError where nothing was found in a second.
        """
        checked = search_request(self._db, request)
        is_current = await self._indexer.wait_caught_up(WAIT_S)
        response = await self._search(checked)
        response.indexing |= not is_current
        return response

    async def _search(self, request: SearchRequest) -> sessions_pb2.SearchMessagesResponse:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._searchers, self._finder.find, request)
        except sqlite3.DatabaseError as error:
            return self._empty_answer(error)

    def _empty_answer(self, error: sqlite3.DatabaseError) -> sessions_pb2.SearchMessagesResponse:
        """Return the answer while there is no index, or only the remains of one."""
        if is_damage(error):
            self._indexer.distrust()
        elif is_missing(error):
            self._indexer.wake()
        else:
            raise UnavailableError(
                "SEARCH_FAILED",
                f"The search index can't be read ({error}). Look at the disk, and search again.",
            ) from error
        return sessions_pb2.SearchMessagesResponse(indexing=True)
