"""Tool calls and their results: which messages belong together.

A message that calls tools and the messages with the results make no sense to a model
apart from each other. Servers that number their calls anew in each answer use the same
call id again, so a result belongs to the nearest call before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice

from oblixd.errors import DataLossError
from oblixd.sessions.storage.db import SessionDb
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

REACH = 200
"""How many messages a call and its result can be apart. Results follow their calls at once as a rule."""

Found = tuple[int, records.MessageRecord]
Session = tuple[int, records.ProgressRecord]
"""A session's number, and what messages change of it, read in the same transaction."""


def with_counterparts(
    db: SessionDb, txn: Transaction, session: Session, sequences: Iterable[int]
) -> list[int]:
    """Return the sequences and those of the messages with the other halves of their tool calls, in order."""
    together: set[int] = set()
    waiting = list(sequences)
    while waiting:
        sequence = waiting.pop()
        if sequence in together:
            continue
        together.add(sequence)
        # What is damaged has no readable counterpart, and must not keep its session from being mended.
        with suppress(DataLossError):
            waiting += _counterparts(db, txn, session, sequence)
    return sorted(together)


def call_ids(record: records.MessageRecord) -> set[str]:
    """Return the calls that a message makes."""
    return {part.tool_call.call_id for part in record.parts if part.HasField("tool_call")}


def result_ids(record: records.MessageRecord) -> set[str]:
    """Return the calls that a message answers."""
    return {part.tool_result.call_id for part in record.parts if part.HasField("tool_result")}


def _counterparts(db: SessionDb, txn: Transaction, session: Session, sequence: int) -> Iterator[int]:
    number, progress = session
    record = db.message_table.get(txn, number, sequence)
    if record is None:
        return
    if calls := call_ids(record):
        after = db.message_table.scan(txn, number, progress, sequence + 1)
        yield from _results(parse_records(after), calls)
    if results := result_ids(record):
        before = db.message_table.scan_back(txn, number, progress, sequence)
        yield from _calls(parse_records(before), results)


def _results(after: Iterable[Found], calls: set[str]) -> Iterator[int]:
    """Find the results of calls. A call can have more than one: a tool was run again."""
    missing = set(calls)
    for sequence, record in after:
        if results := result_ids(record) & calls:
            yield sequence
            missing -= results
        elif not missing:
            return
        # Another call has the id from here on.
        calls -= call_ids(record)
        missing &= calls


def _calls(before: Iterable[Found], wanted: set[str]) -> Iterator[int]:
    for sequence, record in before:
        if calls := call_ids(record) & wanted:
            yield sequence
            wanted -= calls
        if not wanted:
            return


def parse_records(scan: Iterable[tuple[int, bytes]], limit: int = REACH) -> Iterator[Found]:
    """Yield the records of a scan, at most so many."""
    for sequence, payload in islice(scan, limit):
        yield sequence, records.MessageRecord.FromString(payload)
