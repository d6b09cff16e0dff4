"""The changes of sessions, told to many watchers: each is read, matched and made into an event once.

Watchers of the same filter are a group. A change is held against each filter once, and its event is kept in
the groups that it concerns, the last `MAX_EVENTS` of them. A watcher holds only the revision that it has
seen: one that is slow, or frozen, costs nothing, and reads from the store what its group no longer has.

Whoever changed a session has its answer before anybody is told: the fan-out begins a moment after the commit,
and goes on in small steps, between which other calls are served.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from oblix.v1 import sessions_pb2

from oblixd import background
from oblixd.errors import DataLossError
from oblixd.sessions.storage.changes import Change
from oblixd.sessions.storage.db import SessionDb
from oblixd.sessions.storage.index import split
from oblixd.sessions.storage.keys import SessionKey
from oblixd.sessions.storage.schema import number_key
from oblixd.store import Transaction

Labels = frozenset[bytes]

MAX_EVENTS = 256
"""Events that a group keeps."""
PAGE = 100
"""Changes that are read in one go."""
START_DELAY_S = 0.005
"""How long after a commit the fan-out begins: the answer to the change goes first."""
GATHER_S = 0.02
"""How long changes are gathered after others were told, so that many in a row cost little."""
WAKE_BATCH = 4
"""Watchers that are told in one step."""
PAUSE_S = 0.001
"""How long others are served between two steps."""


class Event(NamedTuple):
    """What a group's watchers are told of one change."""

    revision: int
    number: int
    response: sessions_pb2.WatchSessionsResponse
    """The same object for all watchers of all groups, so that it is written for the wire once."""


class Group:
    """The watchers of one filter."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._events: deque[Event] = deque()
        self._waiters: set[asyncio.Future[None]] = set()
        self.members = 0
        """How many watch."""

    def events_after(self, revision: int) -> list[Event] | None:
        """Return the last event of each session after a revision. None: not all of them are here any more."""
        if revision < self._start:
            return None
        last: dict[int, Event] = {}
        for event in self._events:
            if event.revision > revision:
                last.pop(event.number, None)
                last[event.number] = event
        return list(last.values())

    def add(self, event: Event) -> None:
        """Keep an event for those who come for it."""
        self._events.append(event)
        if len(self._events) > MAX_EVENTS:
            self._start = self._events.popleft().revision

    def forget(self, revision: int) -> None:
        """Keep nothing up to a revision: its watchers read the store."""
        self._events.clear()
        self._start = revision

    async def wait_for_events(self, revision: int) -> None:
        """Wait until there may be an event after a revision."""
        if self.events_after(revision) == []:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    def take_waiters(self) -> list[asyncio.Future[None]]:
        """Take those who wait for events; after that nobody waits."""
        woken, self._waiters = list(self._waiters), set()
        return woken


class FanOut:
    """Follows the changes for as long as somebody watches."""

    def __init__(self, db: SessionDb) -> None:
        self._db = db
        self._groups: dict[Labels, Group] = {}
        self._read_revision = self._oldest_revision = 0
        self._changed_groups: dict[Labels, Group] = {}
        self._task: asyncio.Task[None] | None = None
        db.changes.listeners.append(self._begin)

    @contextmanager
    def group(self, labels: Labels) -> Generator[Group, None, None]:
        """Be one of the watchers of a filter for a block."""
        if not self._groups:
            self._read_revision = self._db.changes.announced_revision
        group = self._groups.setdefault(labels, Group(self._read_revision))
        group.members += 1
        try:
            yield group
        finally:
            group.members -= 1
            if not group.members:
                del self._groups[labels]

    def events_after(self, group: Group, revision: int) -> list[Event] | None:
        """Return all events after a revision, also unpublished ones. None: see the store."""
        while self._read_revision < self._db.changes.announced_revision:
            self._next()
        return None if revision < self._oldest_revision else group.events_after(revision)

    def wake(self) -> None:
        """Wake everybody, whether there is news or not."""
        for group in self._groups.values():
            for waiter in group.take_waiters():
                if not waiter.done():
                    waiter.set_result(None)

    def _begin(self) -> None:
        if self._groups and self._task is None:
            self._task = background.begin(self._feed(), "the fan-out of changes")

    async def _feed(self) -> None:
        await asyncio.sleep(START_DELAY_S)
        try:
            while self._groups and (
                self._changed_groups or self._read_revision < self._db.changes.announced_revision
            ):
                if self._read_revision < self._db.changes.announced_revision:
                    self._next()
                await self._wake_changed_groups()
                await asyncio.sleep(GATHER_S)
        finally:
            self._task = None

    def _next(self) -> None:
        """Take in the next changes."""
        changes, self._oldest_revision = (
            self._db.changes.after(self._read_revision, PAGE),
            self._db.changes.oldest(),
        )
        if changes:
            self._read_revision = changes[-1].revision
            self._match(changes)
            return
        # More happened than is kept, or it is damaged: each watcher finds that out for itself.
        self._read_revision = self._db.changes.announced_revision
        for labels, group in self._groups.items():
            group.forget(self._read_revision)
            self._changed_groups[labels] = group

    def _match(self, changes: Sequence[Change]) -> None:
        last = {change.number: change for change in changes}
        before: defaultdict[int, list[Labels]] = defaultdict(list)
        for change in changes:
            if change.labels_before is not None:
                before[change.number].append(change.labels_before)
        with self._db.store.read() as txn:
            for change in (change for change in changes if last[change.number] is change):
                notice = _Notice(self._db, txn, change, before[change.number])
                for labels, group in self._groups.items():
                    if (event := notice.event_for(labels)) is not None:
                        group.add(event)
                        self._changed_groups[labels] = group

    async def _wake_changed_groups(self) -> None:
        """Wake those who wait in the groups that there is news for, a few at a time."""
        groups, self._changed_groups = self._changed_groups, {}
        waiter = [one for group in groups.values() for one in group.take_waiters()]
        for start in range(0, len(waiter), WAKE_BATCH):
            for one in waiter[start : start + WAKE_BATCH]:
                if not one.done():
                    one.set_result(None)
            await asyncio.sleep(PAUSE_S)


class _Notice:
    """One change as it is told: read once, and made into an event once, whoever hears of it."""

    def __init__(self, db: SessionDb, txn: Transaction, change: Change, before: Sequence[Labels]) -> None:
        self._change = change
        self._before = before
        self._removed_event: Event | None = None
        self._labels, self._session = _state(db, txn, change)
        self._changed_event: Event | None = None

    def event_for(self, labels: Labels) -> Event | None:
        """Return what the watchers of a filter hear of it; None: it does not concern them."""
        if self._session is not None and labels <= self._labels:
            watched = sessions_pb2.WatchedSession(session=self._session, revision=self._change.revision)
            self._changed_event = self._changed_event or self._event(session=watched)
            return self._changed_event
        if any(labels <= before for before in self._before):
            change = self._change
            removed = sessions_pb2.RemovedSession(session_id=change.session_id, revision=change.revision)
            self._removed_event = self._removed_event or self._event(removed=removed)
            return self._removed_event
        return None

    def _event(
        self,
        session: sessions_pb2.WatchedSession | None = None,
        removed: sessions_pb2.RemovedSession | None = None,
    ) -> Event:
        response = sessions_pb2.WatchSessionsResponse(session=session, removed=removed)
        return Event(self._change.revision, self._change.number, response)


def _state(db: SessionDb, txn: Transaction, change: Change) -> tuple[Labels, sessions_pb2.Session | None]:
    """Return what a session is found by now, and its header; no header where it is not found."""
    key = SessionKey(change.number, change.session_id)
    try:
        if db.tables.progress.get(txn, number_key(key.number)) is None:
            return frozenset(), None
        progress = db.headers.progress(txn, key)
        if progress.archived:
            return frozenset(), None
        return frozenset(split(progress.labels)), db.headers.entry(txn, key).session()
    except DataLossError:
        # Who reads or lists it is told; the other sessions are to be watched none the less.
        return frozenset(), None
