"""Messages that are kept and left out of the contexts that models are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from oblixd.errors import NotFoundError
from oblixd.sessions.editing.tool_pairs import Session, with_counterparts
from oblixd.sessions.storage.db import SessionDb
from oblixd.sessions.storage.keys import SessionKey
from oblixd.sessions.validation import check_exclusion, check_sequences
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

BY_REQUEST = "BY_REQUEST"
"""The reason of a mark that somebody set without one."""

Change = Callable[[records.MessageRecord], bool]
"""Changes a record, or returns False where there is nothing to change."""


async def exclude(
    db: SessionDb, session_id: str, sequences: Sequence[int], reason: str, detail: str
) -> list[int]:
    """Mark messages. See `Sessions.exclude`."""
    check_exclusion(reason, detail)
    mark = records.ExclusionRecord(reason=reason or BY_REQUEST, detail=detail, marked_us=db.clock())

    def change(record: records.MessageRecord) -> bool:
        if record.HasField("exclusion"):
            return False
        record.exclusion.CopyFrom(mark)
        return True

    return await _write_marks(db, session_id, sequences, change)


async def include(db: SessionDb, session_id: str, sequences: Sequence[int]) -> list[int]:
    """Take the mark away. See `Sessions.include`."""
    return await _write_marks(db, session_id, sequences, _clear)


def clear_marks(db: SessionDb, txn: Transaction, session: Session, sequences: Iterable[int]) -> list[int]:
    """Take the mark of messages away, and of the other halves of their tool calls, in one step."""
    return _change_marks(db, txn, session, sequences, _clear)


def _clear(record: records.MessageRecord) -> bool:
    if not record.HasField("exclusion"):
        return False
    record.ClearField("exclusion")
    return True


async def _write_marks(db: SessionDb, session_id: str, sequences: Sequence[int], change: Change) -> list[int]:
    ref = db.ref(session_id)
    check_sequences(sequences)
    now_us = db.clock()

    def write(txn: Transaction) -> list[int]:
        progress = db.headers.progress(txn, ref)
        _check_there(db, txn, ref, progress, sequences)
        changed = _change_marks(db, txn, (ref.number, progress), sequences, change)
        if changed:
            db.headers.touch(txn, ref, progress, now_us)
        return changed

    return await db.write(ref, write)


def _change_marks(
    db: SessionDb, txn: Transaction, session: Session, sequences: Iterable[int], change: Change
) -> list[int]:
    number, progress = session
    changed = []
    for sequence in with_counterparts(db, txn, session, sequences):
        record = db.message_table.get(txn, number, sequence)
        if record is not None and change(record):
            db.message_table.replace(txn, number, progress, sequence, record)
            changed.append(sequence)
    return changed


def _check_there(
    db: SessionDb,
    txn: Transaction,
    ref: SessionKey,
    progress: records.ProgressRecord,
    sequences: Iterable[int],
) -> None:
    for sequence in sequences:
        # The record of an answer that is being written is written anew at its end.
        is_running = sequence == progress.running.answer_sequence
        if is_running or db.message_table.get(txn, ref.number, sequence) is None:
            raise message_not_found(ref, sequence)


def message_not_found(ref: SessionKey, sequence: int) -> NotFoundError:
    """Return the error for a sequence without a message."""
    return NotFoundError(
        "MESSAGE_NOT_FOUND",
        f"Session {ref.id} has no message {sequence}. List its messages to see which there are.",
        session_id=ref.id,
        sequence=sequence,
    )
