"""Retention: sessions to which nothing was added for long are archived or deleted, by rules.

What is done for the sessions in the background: their retention, and the end of deleted ones.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeAlias

from oblix.v1 import sessions_pb2
from oblix.v1.sessions_pb2 import PruneSessionsRequest

from oblixd.errors import DataLossError, OblixdError, invalid_field
from oblixd.sessions.deletion import DAY_US, delete_now, make_room, purge, sweep
from oblixd.sessions.listing import filter_labels
from oblixd.sessions.storage.db import SessionDb
from oblixd.sessions.storage.headers import Entry
from oblixd.sessions.storage.index import ARCHIVED, OPEN, Range
from oblixd.sessions.storage.retention_rules import Action, RetentionConfig, check_days, checked_action
from oblixd.sessions.storage.schema import number_key, time_key
from oblixd.sessions.turns import interrupt
from oblixd.sessions.validation import check_filter
from oblixd.store import Transaction

logger = logging.getLogger(__name__)

BATCH_SIZE = 200
"""Sessions that one read looks at, and one transaction changes: nobody waits long for it."""
MAX_TOLD = 1000
"""How many sessions an answer names."""


class _Due(NamedTuple):
    """A session whose time has come, as it was found."""

    entry: Entry
    action: Action


class _Rule(NamedTuple):
    """What is to become of which sessions."""

    range: Range
    action: Action
    spares_own: bool
    """True: sessions with a retention of their own are left to that."""


class _Step(NamedTuple):
    """What one read found, and where the next goes on. None: there is nothing left."""

    due_sessions: list[_Due]
    rest: bytes | None


_Look: TypeAlias = Callable[[Transaction, bytes], _Step]
"""Looks at some sessions, from a place on."""


async def prune(
    db: SessionDb, keeping: RetentionConfig, request: sessions_pb2.PruneSessionsRequest
) -> sessions_pb2.PruneSessionsResponse:
    """Carries out a rule, or only says what it would do. See `Sessions.prune`."""
    response = sessions_pb2.PruneSessionsResponse()
    for look in _looks(db, keeping, request):
        async for some in _due_sessions(db, look):
            done = some if request.dry_run else await _carry_out(db, keeping, some)
            response.total_count += len(done)
            room = MAX_TOLD - len(response.sessions)
            response.sessions.extend(
                sessions_pb2.PrunedSession(session=entry.session(), action=action)
                for entry, action in done[:room]
            )
    return response


def _looks(
    db: SessionDb, keeping: RetentionConfig, request: sessions_pb2.PruneSessionsRequest
) -> Iterator[_Look]:
    check_days(request.days, "days")
    action = checked_action(request.action, "action")
    labels = tuple(filter_labels(request.filter))
    now_us = db.clock()
    if request.days:
        _check_rule(request)
        range_ = _range(now_us, request.days, action, labels)
        yield partial(_by_rule, db, _Rule(range_, action, spares_own=False))
        return
    if request.action or request.HasField("filter"):
        raise invalid_field("DAYS_MISSING", "days", "must be set where action or filter are.")
    yield partial(_sessions_by_own_rule, db, now_us)
    if keeping.retention_days:
        range_ = _range(now_us, keeping.retention_days, keeping.retention_action)
        yield partial(_by_rule, db, _Rule(range_, keeping.retention_action, spares_own=True))


def _check_rule(request: sessions_pb2.PruneSessionsRequest) -> None:
    """Refuse what a stub may send for a rule that its caller never wrote."""
    check_filter(request.filter if request.HasField("filter") else None)
    if not request.action:
        problem = "must be RETENTION_ACTION_ARCHIVE or RETENTION_ACTION_DELETE where days are set."
        raise invalid_field("ACTION_MISSING", "action", problem, given=request.action)


def _range(now_us: int, days: int, action: Action, labels: tuple[bytes, ...] = ()) -> Range:
    """Find the sessions of a rule: archived ones need not be looked at to be archived."""
    partitions = (OPEN, ARCHIVED) if action == sessions_pb2.RETENTION_ACTION_DELETE else (OPEN,)
    return Range(partitions, labels, end=time_key(now_us - days * DAY_US))


async def _due_sessions(db: SessionDb, look: _Look) -> AsyncGenerator[list[_Due], None]:
    position: bytes | None = b""
    while position is not None:
        with db.store.read() as txn:
            due, position = look(txn, position)
        yield due
        await asyncio.sleep(0)


def _by_rule(db: SessionDb, rule: _Rule, txn: Transaction, position: bytes) -> _Step:
    looked_at = list(islice(db.headers.partitions.walk(txn, rule.range, position), BATCH_SIZE))
    entries = _entries(db, txn, [number for _, number in looked_at if number])
    due = [
        _Due(entry, rule.action)
        for entry in entries
        if not (rule.spares_own and entry.header.HasField("retention"))
    ]
    return _Step(due, looked_at[-1][0] if len(looked_at) == BATCH_SIZE else None)


def _sessions_by_own_rule(db: SessionDb, now_us: int, txn: Transaction, position: bytes) -> _Step:
    keys = [key for key, _ in islice(db.tables.retentions.scan(txn, b"", position), BATCH_SIZE)]
    due = []
    for entry in _entries(db, txn, [int.from_bytes(key, "big") for key in keys]):
        retention = entry.header.retention
        action = Action(retention.action)
        is_over = entry.progress.update_us < now_us - retention.days * DAY_US
        if retention.days and is_over and not _is_done(entry, action):
            due.append(_Due(entry, action))
    rest = number_key(int.from_bytes(keys[-1], "big") + 1) if len(keys) == BATCH_SIZE else None
    return _Step(due, rest)


def _entries(db: SessionDb, txn: Transaction, numbers: list[int]) -> Iterator[Entry]:
    """Yield the sessions in which no turn runs. A damaged one is left to its owner."""
    for number in numbers:
        try:
            entry = db.headers.entry_numbered(txn, number)
        except DataLossError:
            logger.exception("session number %d is not pruned", number)
            continue
        if not entry.progress.HasField("running"):
            yield entry


def _is_done(entry: Entry, action: Action) -> bool:
    return action == sessions_pb2.RETENTION_ACTION_ARCHIVE and entry.header.archived


async def _carry_out(db: SessionDb, keeping: RetentionConfig, some: list[_Due]) -> list[_Due]:
    if not some:
        return []

    def write(txn: Transaction) -> list[_Due]:
        return [due for due in some if _carry_out_one(db, keeping, due, txn)]

    done = await db.store.write(write, frees=True)
    for entry, action in done:
        if action == sessions_pb2.RETENTION_ACTION_DELETE:
            db.tell_removed(entry.ref)
            if not keeping.deleted_days:
                sweep(db, entry.number)
    return done


def _carry_out_one(db: SessionDb, keeping: RetentionConfig, due: _Due, txn: Transaction) -> bool:
    """Apply the rule to a session. False: the session was changed since it was found."""
    found = db.tables.progress.get(txn, number_key(due.entry.number))
    if found != due.entry.progress.SerializeToString():
        return False
    if due.action == sessions_pb2.RETENTION_ACTION_DELETE:
        delete_now(db, due.entry.ref, keeping.deleted_days > 0, txn)
    else:
        entry = db.headers.entry_numbered(txn, due.entry.number)
        entry.header.archived = True
        # It keeps its place in time: nobody added anything to it.
        db.headers.rewrite(txn, entry, entry.progress.update_us)
    return True


PAUSE_S = 3600.0
"""Days are what it goes by: an hour later is soon enough."""
SOON_S = 10.0
"""How soon a turn that was cut off is tried to be ended again."""


async def keep_up(db: SessionDb, keeping: RetentionConfig) -> None:
    """Look after the sessions every hour, and as soon as room is needed, until it is cancelled.

    Turns that could not be ended, because the disk or the store was full, are tried again soon.
    """
    room_is_needed = db.unfinished_turns.change_event
    db.store.on_full(room_is_needed.set)
    while True:
        try:
            await interrupt(db)
            await once(db, keeping)
        except OblixdError as error:
            logger.warning("retention could not be applied: %s It is tried again later.", error.message)
        room_is_needed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(SOON_S if db.unfinished_turns.requests else PAUSE_S):
                await room_is_needed.wait()


async def once(db: SessionDb, keeping: RetentionConfig) -> None:
    """Apply every session's retention, then lets go of what was deleted long ago.

    When the store is full, what was deleted lately goes, too.
    """
    pruned = await prune(db, keeping, PruneSessionsRequest())
    purged = await purge(db, keeping.deleted_days)
    if early := await make_room(db):
        logger.warning("the store is full: %d deleted sessions were purged before their time", early)
    if pruned.total_count or purged:
        logger.info("retention: %d sessions archived or deleted, %d purged", pruned.total_count, purged)
