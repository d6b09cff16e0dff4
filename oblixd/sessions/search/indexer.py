"""Keeps the index beside the conversations: a thread that follows what happens to them."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections import deque
from pathlib import Path

from oblixd.errors import OblixdError
from oblixd.sessions.search.batch import Collector, numbers_after
from oblixd.sessions.search.schema import is_damage
from oblixd.sessions.search.text_index import Batch, Index, LostError, remove
from oblixd.sessions.storage.db import SessionDb

logger = logging.getLogger(__name__)

GATHER_S = 0.5
"""How long changes are gathered before they are indexed, unless somebody searches."""
RETRY_S = 5.0
"""The pause after an error that is not the index's own: a full disk, a directory that can't be written."""
REBUILD_S = 0.2
"""The pause before a damaged index is made anew, so that a disk that damages all of them has some rest."""
BATCH_SIZE = 256
"""Sessions or changes that one batch looks at."""


class Indexer:
    """The index's one writer. Everything here but the thread's own work is called on the event loop.

    It works in small batches, pauses after every few messages that it reads, and rests after
    each batch for as long as the writing took: neither the event loop nor a writer waits for it.
    """

    def __init__(self, db: SessionDb, path: Path) -> None:
        self._db = db
        self._changes = db.changes
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="search-indexer", daemon=True)
        self._stopping = threading.Event()
        self._wake_event = threading.Event()
        self._hurry_event = threading.Event()
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        """Who waits until a revision is indexed."""
        self._must_check = False
        self._newest = 0
        """The last revision that is known to be the store's."""
        self._revision = -1
        """Up to where the index is complete. -1: it is being built, or can't be kept up."""

    def start(self) -> None:
        """Begin to work. Before anything is written: an index ahead of the store is another one's."""
        self._newest = self._changes.newest()
        self._thread.start()

    async def stop(self) -> None:
        """End after the batch that is under way."""
        self._stopping.set()
        self._hurry()
        await asyncio.to_thread(self._thread.join)

    def wake(self) -> None:
        """Something changed."""
        self._wake_event.set()

    def distrust(self) -> None:
        """Make the file anew: it was seen to be damaged or missing."""
        self._must_check = True
        self._revision = -1
        self._hurry()

    async def wait_caught_up(self, wait_s: float) -> bool:
        """Wait until everything is indexed that was there at the call; False: that takes too long."""
        if self._revision < 0:
            return False
        newest = self._changes.newest()
        if self._revision >= newest:
            return True
        done = self._loop.create_future()
        self._waiters.append((newest, done))
        self._hurry()
        await asyncio.wait([done], timeout=wait_s)
        return done.done()

    def _hurry(self) -> None:
        self._hurry_event.set()
        self._wake_event.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._attempt()
            except (OblixdError, OSError) as error:
                self._pause(error)

    def _attempt(self) -> None:
        try:
            self._tend()
        except (sqlite3.DatabaseError, LostError) as error:
            self._give_up(error)

    def _give_up(self, error: sqlite3.DatabaseError | LostError) -> None:
        if self._stopping.is_set():
            return
        if isinstance(error, LostError) or is_damage(error):
            self._revision = -1
            logger.warning("the search index is built anew: %s", error)
            remove(self._path)
            self._stopping.wait(REBUILD_S)
        else:
            self._pause(error)

    def _pause(self, error: Exception) -> None:
        self._revision = -1
        logger.warning("the search index can't be kept up: %s; trying again", error)
        self._stopping.wait(RETRY_S)

    def _tend(self) -> None:
        """Open the index and keep it up to date. Returns when told to stop."""
        with Index.open(self._path, self._changes.store_id(), self._newest, self._stopping.is_set) as index:
            self._must_check = False
            while not self._stopping.is_set():
                is_busy = self._step(index)
                self._check(index)
                if index.scan_position is None:
                    self._settle(index.revision)
                if not is_busy:
                    self._rest()

    def _check(self, index: Index) -> None:
        if self._must_check:
            raise LostError("a search found it damaged or missing")
        index.check()

    def _step(self, index: Index) -> bool:
        """Index a little. False where there is nothing to do."""
        return self._follow(index) if index.scan_position is None else self._scan(index, index.scan_position)

    def _scan(self, index: Index, scanned: int) -> bool:
        """Goes through all sessions, in order of their numbers."""
        if not (numbers := numbers_after(self._db, index, scanned, BATCH_SIZE)):
            self._write(index, Collector(self._db, index).batch, index.revision, None)
            return True
        collector = Collector(self._db, index)
        done = collector.gather(numbers)
        self._write(index, collector.batch, index.revision, numbers[done - 1] if done else scanned)
        return True

    def _follow(self, index: Index) -> bool:
        """Goes through what changed, in order."""
        changes = self._changes.after(index.revision, BATCH_SIZE)
        collector = Collector(self._db, index)
        if changes is None:
            logger.info("the search index is too far behind; every session is looked at")
            self._revision = -1
            self._write(index, collector.batch, self._changes.newest(), 0)
            return True
        done = collector.gather(change.number for change in changes)
        if changes:
            self._write(index, collector.batch, changes[done - 1].revision if done else index.revision, None)
        # What came meanwhile is gathered first: who writes on and on is not followed step by step.
        return done < len(changes) or len(changes) == BATCH_SIZE

    def _write(self, index: Index, batch: Batch, revision: int, scanned: int | None) -> None:
        began = time.monotonic()
        index.apply(batch, revision, scanned)
        self._newest = revision
        self._stopping.wait(time.monotonic() - began)

    def _settle(self, revision: int) -> None:
        """Everything up to a revision is indexed: tells those who wait for it."""
        self._revision = revision
        while self._waiters and self._waiters[0][0] <= revision:
            self._loop.call_soon_threadsafe(_done, self._waiters.popleft()[1])

    def _rest(self) -> None:
        """Wait for a change, then a while for more of them."""
        self._wake_event.wait()
        self._hurry_event.wait(GATHER_S)
        self._wake_event.clear()
        self._hurry_event.clear()


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
