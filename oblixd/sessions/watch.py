"""Watching sessions: the matching headers as they are, then every change of them.

All that is kept for a watcher is the revision that it has seen. It takes the changes
after that when it is ready for them, several of one session as one, from the fan-out
or, where it fell behind, from the store: a reader that is slow, or frozen, costs
nothing and holds up nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator, Sequence

from google.protobuf.struct_pb2 import Struct
from oblix.v1 import sessions_pb2

from oblixd.errors import DataLossError, UnavailableError, invalid_field
from oblixd.sessions.fan_out import FanOut
from oblixd.sessions.listing import Query, filter_labels, session_page
from oblixd.sessions.storage.changes import Change
from oblixd.sessions.storage.db import SessionDb
from oblixd.sessions.storage.index import split
from oblixd.sessions.storage.keys import SessionKey
from oblixd.sessions.storage.schema import number_key
from oblixd.store import Transaction

logger = logging.getLogger(__name__)

PAGE = 100
"""How many sessions, or changes, are read in one go."""

Events = AsyncGenerator[sessions_pb2.WatchSessionsResponse, None]


class Watches:
    """Who watches. Ended by `close`."""

    def __init__(self, db: SessionDb) -> None:
        self._db = db
        self._is_closing = False
        self._fan_out = FanOut(db)
        self.count = 0
        """How many watch."""

    def watch(self, filter_: Struct, from_revision: int | None) -> Events:
        """See `Sessions.watch`. What is wrong is told here, before anything is sent."""
        labels = frozenset(filter_labels(filter_))
        newest = self._db.changes.newest()
        if from_revision is not None and not 0 <= from_revision <= newest:
            raise invalid_field(
                "INVALID_REVISION",
                "from_revision",
                f"must be one that this store has told, 0 to {newest}, not {from_revision}.",
                limit=newest,
                given=from_revision,
            )
        return self._events(filter_, labels, newest, from_revision)

    def close(self) -> None:
        """End every watch with UnavailableError DAEMON_STOPPING."""
        self._is_closing = True
        self._fan_out.wake()

    async def _events(
        self, filter_: Struct, labels: frozenset[bytes], newest: int, from_revision: int | None
    ) -> Events:
        self.count += 1
        try:
            if from_revision is None:
                async for event in _headers(self._db, filter_):
                    yield event
            async for event in self._changes(labels, newest if from_revision is None else from_revision):
                yield event
        finally:
            self.count -= 1

    async def _changes(self, labels: frozenset[bytes], revision: int) -> Events:
        with self._fan_out.group(labels) as group:
            is_behind = True
            while not self._is_closing:
                events = None if is_behind else self._fan_out.events_after(group, revision)
                if events is None:
                    async for event in self._missed_events(labels, revision):
                        yield event
                        if event.HasField("resync_required"):
                            return
                        if event.HasField("synced"):
                            revision = event.synced.revision
                    is_behind = False
                    continue
                for _, _, response in events:
                    yield response
                revision = events[-1].revision if events else revision
                if len(events) >= PAGE:
                    yield sessions_pb2.WatchSessionsResponse(synced=sessions_pb2.Synced(revision=revision))
                await group.wait_for_events(revision)
        raise UnavailableError("DAEMON_STOPPING", "oblixd is stopping: watch again in a moment.")

    async def _missed_events(self, labels: frozenset[bytes], revision: int) -> Events:
        """Yield what the store knows since a revision; at the end `synced`, or `resync_required`."""
        while True:
            changes = self._db.changes.after(revision, PAGE)
            if changes is None:
                oldest = self._db.changes.oldest()
                yield sessions_pb2.WatchSessionsResponse(
                    resync_required=sessions_pb2.ResyncRequired(oldest_revision=oldest)
                )
                return
            for event in _responses(self._db, labels, changes):
                yield event
            revision = changes[-1].revision if changes else revision
            if len(changes) < PAGE:
                yield sessions_pb2.WatchSessionsResponse(synced=sessions_pb2.Synced(revision=revision))
                return


async def _headers(db: SessionDb, filter_: Struct) -> Events:
    """Yield the headers that match now, page by page. What changes meanwhile follows as a change."""
    token = ""
    while True:
        revision = db.changes.newest()
        damaged: list[sessions_pb2.DamagedSession] = []
        sessions, token = session_page(db, PAGE, token, Query(filter_), 0, damaged=damaged)
        for one in damaged:
            # Who reads or lists it is told; the other sessions are to be watched none the less.
            logger.warning("a session can't be watched: %s", one.detail)
        for session in sessions:
            yield sessions_pb2.WatchSessionsResponse(
                session=sessions_pb2.WatchedSession(session=session, revision=revision)
            )
        if not token:
            return
        await asyncio.sleep(0)


def _responses(
    db: SessionDb, labels: frozenset[bytes], changes: Sequence[Change]
) -> Iterator[sessions_pb2.WatchSessionsResponse]:
    """Yield each changed session once, as it is now, in the order of the last changes."""
    last = {change.number: change for change in changes}
    matched = {change.number for change in changes if _did_match(change, labels)}
    for change in changes:
        if last[change.number] is not change:
            continue
        if session := _matching_session(db, labels, change):
            watched = sessions_pb2.WatchedSession(session=session, revision=change.revision)
            yield sessions_pb2.WatchSessionsResponse(session=watched)
        elif change.number in matched:
            removed = sessions_pb2.RemovedSession(session_id=change.session_id, revision=change.revision)
            yield sessions_pb2.WatchSessionsResponse(removed=removed)


def _did_match(change: Change, labels: frozenset[bytes]) -> bool:
    return change.labels_before is not None and labels <= change.labels_before


def _matching_session(db: SessionDb, labels: frozenset[bytes], change: Change) -> sessions_pb2.Session | None:
    ref = SessionKey(change.number, change.session_id)
    try:
        with db.store.read() as txn:
            return db.headers.entry(txn, ref).session() if _matches(db, txn, ref, labels) else None
    except DataLossError:
        # Who reads or lists it is told; the other sessions are to be watched none the less.
        return None


def _matches(db: SessionDb, txn: Transaction, ref: SessionKey, labels: frozenset[bytes]) -> bool:
    if db.tables.progress.get(txn, number_key(ref.number)) is None:
        return False
    progress = db.headers.progress(txn, ref)
    return not progress.archived and labels.issubset(split(progress.labels))
