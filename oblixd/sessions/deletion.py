"""Deleted sessions: unseen at once, kept for a while to be brought back, then purged.

Sweeps what nobody sees: messages of deleted sessions, and what was built and never published.
"""

from __future__ import annotations

from functools import partial
from itertools import islice, takewhile

from oblix.v1.sessions_pb2 import Session

from oblixd.errors import DataLossError, FailedPreconditionError
from oblixd.sessions.storage.db import SessionDb
from oblixd.sessions.storage.headers import Entry, not_found
from oblixd.sessions.storage.index import DELETED
from oblixd.sessions.storage.keys import SessionKey, timestamp
from oblixd.sessions.storage.schema import number_key, session_id_of, time_key
from oblixd.sessions.turns import cut_off
from oblixd.sessions.validation import check_session_id
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

SWEEP_BATCH = 500
"""Records that one transaction removes, so that no writer waits long for it."""


def sweep(db: SessionDb, number: int) -> None:
    """Remove what is kept under a number, bit by bit, when nothing else is to be written."""
    db.store.write_idle(partial(sweep_some, db, number))


def sweep_some(db: SessionDb, number: int, txn: Transaction) -> bool:
    """Take one step of a sweep. True while there is more. Touches only what is marked as garbage."""
    key = number_key(number)
    if db.tables.garbage.get(txn, key) is None:
        return False
    for table in (db.tables.messages, db.tables.versions, db.tables.pieces):
        if table.delete_all(txn, key, SWEEP_BATCH) == SWEEP_BATCH:
            return True
    if db.requests.forget(txn, number, SWEEP_BATCH):
        return True
    db.tables.garbage.delete(txn, key)
    return False


def sweep_leftovers(db: SessionDb) -> None:
    """Sweep what the daemon before did not come to. Called before anything new is built."""
    with db.store.read() as txn:
        leftovers = [int.from_bytes(key, "big") for key, _ in db.tables.garbage.scan(txn, b"")]
    for number in leftovers:
        sweep(db, number)


DAY_US = 24 * 3600 * 1_000_000
BATCH_WHEN_FULL = 10
"""Sessions that are purged together when room is needed: not more than have to be."""
LAST_US = 2**62
"""Later than any instant."""
PURGE_BATCH = 100
"""Sessions that one transaction purges, so that no writer waits long for it."""


async def delete(db: SessionDb, ref: SessionKey, keep: bool) -> str:
    """Delete a session; return the request that its turn runs for, or nothing. See `Sessions.delete`."""
    request_id = await db.write(ref, partial(delete_now, db, ref, keep), frees=True)
    db.tell_removed(ref)
    sweep(db, ref.number)
    await make_room(db)
    return request_id


async def make_room(db: SessionDb) -> int:
    """While the store is full: let go of deleted sessions, the longest deleted first. Return of how many."""
    purged = 0
    while db.store.is_full:
        refs = await db.store.write(partial(_purge_some, db, LAST_US, BATCH_WHEN_FULL), frees=True)
        for ref in refs:
            db.tell_removed(ref)
            while await db.store.write(partial(sweep_some, db, ref.number), frees=True):
                pass
        purged += len(refs)
        if not refs:
            break
    return purged


def delete_now(db: SessionDb, ref: SessionKey, keep: bool, txn: Transaction) -> str:
    """Hide a session in one step, and keep it to be brought back or mark it to be swept."""
    progress = db.headers.progress(txn, ref)
    request_id = progress.running.request_id
    try:
        entry = _end_turn(db, ref, txn)
    except DataLossError:
        # A damaged one can't be brought back; to be rid of it is what its owner was told to do.
        db.headers.remove(txn, ref, progress)
        keep = False
    else:
        db.headers.hide(txn, entry)
        if keep:
            _keep(db, txn, entry)
    if not keep:
        db.tables.garbage.put(txn, number_key(ref.number), b"")
    return request_id


def _end_turn(db: SessionDb, ref: SessionKey, txn: Transaction) -> Entry:
    entry = db.headers.entry(txn, ref)
    if entry.progress.HasField("running"):
        cut_off(db, txn, entry, records.STATUS_RECORD_CANCELLED)
    return entry


def _keep(db: SessionDb, txn: Transaction, entry: Entry) -> None:
    tables, key, now_us = db.tables, number_key(entry.number), db.clock()
    record = records.DeletedRecord(header=entry.header, progress=entry.progress, delete_us=now_us)
    tables.deleted.put(txn, key, record.SerializeToString())
    tables.deleted_ids.put(txn, entry.header.id.encode(), key)
    db.headers.partitions.put_deleted(txn, entry.ref, now_us)


async def undelete(db: SessionDb, session_id: str) -> Session:
    """Brings a session back. See `Sessions.undelete`."""
    check_session_id(session_id)
    with db.store.read() as txn:
        ref = _deleted_ref(db, txn, session_id)

    def write(txn: Transaction) -> Session:
        found = _deleted_ref(db, txn, session_id)
        record = deleted_record(db, txn, found.number)
        _forget(db, txn, found, record.delete_us)
        entry = Entry(found.number, record.header, record.progress)
        db.headers.show(txn, entry)
        return entry.session()

    return await db.write(ref, write)


def _deleted_ref(db: SessionDb, txn: Transaction, session_id: str) -> SessionKey:
    found = db.tables.deleted_ids.get(txn, session_id.encode())
    if found is not None:
        return SessionKey(int.from_bytes(found, "big"), session_id)
    if db.headers.find(txn, session_id) is None:
        raise not_found(session_id)
    raise FailedPreconditionError(
        "SESSION_NOT_DELETED",
        f"Session {session_id} is not deleted; there is nothing to bring back.",
        session_id=session_id,
    )


def deleted_record(db: SessionDb, txn: Transaction, number: int) -> records.DeletedRecord:
    """Return what is kept of a deleted session that an index names: it must be there."""
    payload = db.tables.deleted.get(txn, number_key(number))
    if payload is None:
        raise db.tables.deleted.missing_error(number_key(number))
    return records.DeletedRecord.FromString(payload)


def deleted_session(db: SessionDb, txn: Transaction, number: int, days: int) -> Session:
    """Return a deleted session, with when it was deleted and when it will be gone."""
    record = deleted_record(db, txn, number)
    session = Entry(number, record.header, record.progress).session()
    session.delete_time.CopyFrom(timestamp(record.delete_us))
    session.purge_time.CopyFrom(timestamp(record.delete_us + days * DAY_US))
    return session


async def purge(db: SessionDb, days: int) -> int:
    """Lets go of the sessions that were deleted so many days ago, bit by bit. Says of how many."""
    until, purged = db.clock() - days * DAY_US, 0
    while refs := await db.store.write(partial(_purge_some, db, until, PURGE_BATCH), frees=True):
        for ref in refs:
            db.tell_removed(ref)
            sweep(db, ref.number)
        purged += len(refs)
    return purged


async def purge_deleted(db: SessionDb, session_id: str) -> bool:
    """Lets go of one deleted session, and frees its id. False where no deleted session has it."""
    check_session_id(session_id)

    def write(txn: Transaction) -> SessionKey | None:
        found = db.tables.deleted_ids.get(txn, session_id.encode())
        if found is None:
            return None
        ref = SessionKey(int.from_bytes(found, "big"), session_id)
        _forget(db, txn, ref, deleted_record(db, txn, ref.number).delete_us)
        db.tables.garbage.put(txn, found, b"")
        return ref

    ref = await db.store.write(write, frees=True)
    if ref is not None:
        db.tell_removed(ref)
        sweep(db, ref.number)
    return ref is not None


def _purge_some(db: SessionDb, until_us: int, limit: int, txn: Transaction) -> list[SessionKey]:
    end = DELETED + time_key(until_us)
    scan = db.tables.recency.scan(txn, DELETED)
    due = list(islice(takewhile(lambda item: item[0] < end, scan), limit))
    refs = []
    for key, number in due:
        session_id = session_id_of(key[len(DELETED) :])
        db.tables.recency.delete(txn, key)
        db.tables.deleted.delete(txn, number)
        db.tables.deleted_ids.delete(txn, session_id.encode())
        db.tables.garbage.put(txn, number, b"")
        refs.append(SessionKey(int.from_bytes(number, "big"), session_id))
    return refs


def _forget(db: SessionDb, txn: Transaction, ref: SessionKey, delete_us: int) -> None:
    db.tables.deleted.delete(txn, number_key(ref.number))
    db.tables.deleted_ids.delete(txn, ref.id.encode())
    db.headers.partitions.take_deleted(txn, ref, delete_us)
