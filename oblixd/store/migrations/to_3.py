"""Schema 3: a sequence number without a message has a tombstone, so that any other gap is damage.

Before, a number was left without a record where a turn ended without an answer. The count of
messages tells such a gap from damage: where a session has as many messages as it counts, its
gaps get tombstones. Where it has fewer, nobody can say which of its gaps is the damage: they
stay, and the session is named when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from oblixd.errors import DataLossError
from oblixd.store.migrations.base import Tables
from oblixd.store.table import Transaction
from oblixd.store.v1 import records_pb2 as records

NUMBERS_AT_ONCE = 10_000
"""Sequence numbers that one step looks at. A single session may have more."""
_NUMBER_BYTES = 8
_TOMBSTONE = b""
_OPEN, _DELETED = b"o", b"d"


def step(txn: Transaction, tables: Tables, progress: bytes) -> bytes | None:
    """Go on behind the session that `progress` names: first those in use, then the deleted ones."""
    kind, after = progress[:1] or _OPEN, progress[1:]
    name = "progress" if kind == _OPEN else "deleted"
    room = NUMBERS_AT_ONCE
    for key in islice(tables(name).keys(txn, b"", after + b"\0" if after else b""), NUMBERS_AT_ONCE):
        room -= _fill(txn, tables, name, key)
        after = key
        if room <= 0:
            return kind + after
    return _DELETED if kind == _OPEN else None


def _fill(txn: Transaction, tables: Tables, name: str, number: bytes) -> int:
    """Give a session's gaps their tombstones. Return how many numbers were looked at."""
    try:
        progress = _progress(tables(name).get(txn, number) or b"", name)
    except DataLossError:
        # It is named when it is read; it keeps nothing else from being served.
        return 1
    messages = tables("messages")
    there = {int.from_bytes(key[_NUMBER_BYTES:], "big") for key in messages.keys(txn, number)}
    if len(there) == progress.message_count:
        gaps = _gaps(there, progress)
        messages.put_all(txn, [(number + gap.to_bytes(_NUMBER_BYTES, "big"), _TOMBSTONE) for gap in gaps])
    return max(progress.next_sequence, 1)


def _progress(payload: bytes, name: str) -> records.ProgressRecord:
    if name == "deleted":
        return records.DeletedRecord.FromString(payload).progress
    return records.ProgressRecord.FromString(payload)


def _gaps(there: set[int], progress: records.ProgressRecord) -> Iterator[int]:
    """Return the numbers without a message, but the one that is kept for a running turn's answer."""
    reserved = progress.running.answer_sequence
    return (at for at in range(1, progress.next_sequence) if at not in there and at != reserved)
