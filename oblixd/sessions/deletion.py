"""Deleted sessions: unseen at once, kept for a while to be brought back, then purged."""

from __future__ import annotations

from functools import partial
from itertools import islice, takewhile

from oblix.v1.sessions_pb2 import Session

from oblixd.errors import DataLossError, FailedPreconditionError
from oblixd.sessions.catalog import Entry, not_found
from oblixd.sessions.garbage import sweep
from oblixd.sessions.ledger import Ledger
from oblixd.sessions.refs import Ref
from oblixd.sessions.shelves import DELETED
from oblixd.sessions.tables import number_key, session_id_of, time_key
from oblixd.sessions.times import timestamp
from oblixd.sessions.turns import cut_off
from oblixd.sessions.validation import check_session_id
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

DAY_US = 24 * 3600 * 1_000_000
PURGED_AT_ONCE = 100
"""Sessions that one transaction purges, so that no writer waits long for it."""


async def delete(ledger: Ledger, ref: Ref, keep: bool) -> str:
    """Deletes a session; returns the request that its turn runs for, or nothing. See `Sessions.delete`."""
    request_id = await ledger.write(ref, partial(delete_now, ledger, ref, keep))
    sweep(ledger, ref.number)
    return request_id


def delete_now(ledger: Ledger, ref: Ref, keep: bool, txn: Transaction) -> str:
    """One step: hides a session, and keeps it to be brought back or marks it to be swept."""
    progress = ledger.catalog.progress(txn, ref)
    request_id = progress.running.request_id
    try:
        entry = _ended(ledger, ref, txn)
    except DataLossError:
        # A damaged one can't be brought back; to be rid of it is what its owner was told to do.
        ledger.catalog.remove(txn, ref, progress)
        keep = False
    else:
        ledger.catalog.hide(txn, entry)
        if keep:
            _keep(ledger, txn, entry)
    if not keep:
        ledger.tables.garbage.put(txn, number_key(ref.number), b"")
    return request_id


def _ended(ledger: Ledger, ref: Ref, txn: Transaction) -> Entry:
    entry = ledger.catalog.entry(txn, ref)
    if entry.progress.HasField("running"):
        cut_off(ledger, txn, entry, records.STATUS_RECORD_CANCELLED)
    return entry


def _keep(ledger: Ledger, txn: Transaction, entry: Entry) -> None:
    tables, key, now_us = ledger.tables, number_key(entry.number), ledger.clock()
    record = records.DeletedRecord(header=entry.header, progress=entry.progress, delete_us=now_us)
    tables.deleted.put(txn, key, record.SerializeToString())
    tables.deleted_ids.put(txn, entry.header.id.encode(), key)
    ledger.catalog.shelves.put_deleted(txn, entry.ref, now_us)


async def undelete(ledger: Ledger, session_id: str) -> Session:
    """Brings a session back. See `Sessions.undelete`."""
    check_session_id(session_id)
    with ledger.store.read() as txn:
        ref = _deleted_ref(ledger, txn, session_id)

    def write(txn: Transaction) -> Session:
        found = _deleted_ref(ledger, txn, session_id)
        record = deleted_record(ledger, txn, found.number)
        _forget(ledger, txn, found, record.delete_us)
        entry = Entry(found.number, record.header, record.progress)
        ledger.catalog.show(txn, entry)
        return entry.session()

    return await ledger.write(ref, write)


def _deleted_ref(ledger: Ledger, txn: Transaction, session_id: str) -> Ref:
    found = ledger.tables.deleted_ids.get(txn, session_id.encode())
    if found is not None:
        return Ref(int.from_bytes(found, "big"), session_id)
    if ledger.catalog.find(txn, session_id) is None:
        raise not_found(session_id)
    raise FailedPreconditionError(
        "SESSION_NOT_DELETED",
        f"Session {session_id} is not deleted; there is nothing to bring back.",
        session_id=session_id,
    )


def deleted_record(ledger: Ledger, txn: Transaction, number: int) -> records.DeletedRecord:
    """What is kept of a deleted session that an index names: it must be there."""
    payload = ledger.tables.deleted.get(txn, number_key(number))
    if payload is None:
        raise ledger.tables.deleted.missing(number_key(number))
    return records.DeletedRecord.FromString(payload)


def deleted_session(ledger: Ledger, txn: Transaction, number: int, days: int) -> Session:
    """A deleted session, with when it was deleted and when it will be gone."""
    record = deleted_record(ledger, txn, number)
    session = Entry(number, record.header, record.progress).session()
    session.delete_time.CopyFrom(timestamp(record.delete_us))
    session.purge_time.CopyFrom(timestamp(record.delete_us + days * DAY_US))
    return session


async def purge(ledger: Ledger, days: int) -> int:
    """Lets go of the sessions that were deleted so many days ago, bit by bit. Says of how many."""
    until, purged = ledger.clock() - days * DAY_US, 0
    while numbers := await ledger.store.write(partial(_purge_some, ledger, until)):
        for number in numbers:
            sweep(ledger, number)
        purged += len(numbers)
    return purged


async def purge_deleted(ledger: Ledger, session_id: str) -> bool:
    """Lets go of one deleted session, and frees its id. False where no deleted session has it."""
    check_session_id(session_id)

    def write(txn: Transaction) -> int | None:
        found = ledger.tables.deleted_ids.get(txn, session_id.encode())
        if found is None:
            return None
        ref = Ref(int.from_bytes(found, "big"), session_id)
        _forget(ledger, txn, ref, deleted_record(ledger, txn, ref.number).delete_us)
        ledger.tables.garbage.put(txn, found, b"")
        return ref.number

    number = await ledger.store.write(write)
    if number is not None:
        sweep(ledger, number)
    return number is not None


def _purge_some(ledger: Ledger, until_us: int, txn: Transaction) -> list[int]:
    end = DELETED + time_key(until_us)
    scan = ledger.tables.recency.ascending(txn, DELETED)
    due = list(islice(takewhile(lambda item: item[0] < end, scan), PURGED_AT_ONCE))
    for key, number in due:
        ledger.tables.recency.delete(txn, key)
        ledger.tables.deleted.delete(txn, number)
        ledger.tables.deleted_ids.delete(txn, session_id_of(key[len(DELETED) :]).encode())
        ledger.tables.garbage.put(txn, number, b"")
    return [int.from_bytes(number, "big") for _, number in due]


def _forget(ledger: Ledger, txn: Transaction, ref: Ref, delete_us: int) -> None:
    ledger.tables.deleted.delete(txn, number_key(ref.number))
    ledger.tables.deleted_ids.delete(txn, ref.id.encode())
    ledger.catalog.shelves.take_deleted(txn, ref, delete_us)
