"""Looks through a store's file that nobody has open: is every record sound, and do the tables agree?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from oblixd.errors import DataLossError, OblixdError
from oblixd.sessions.storage.headers import NEXT_NUMBER, source_keys
from oblixd.sessions.storage.index import DELETED, LABEL_BYTES, labels_of, partition_of
from oblixd.sessions.storage.keys import pack, unpack
from oblixd.sessions.storage.messages import TOMBSTONE, first_of
from oblixd.sessions.storage.schema import (
    NUMBER_BYTES,
    TABLE_NAMES,
    number_key,
    position_key,
    sequence_of,
    session_id_of,
)
from oblixd.store import offline, schema
from oblixd.store.v1 import records_pb2 as records

_BY_NUMBER = {
    "sessions",
    "progress",
    "messages",
    "pieces",
    "versions",
    "deleted",
    "retentions",
    "running",
    "turns",
    "garbage",
}
_BY_ID = {"ids", "deleted_ids"}
_PLACES = {"recency": len(DELETED), "labels": len(DELETED) + LABEL_BYTES}
"""Tables whose keys end with a position, and where that begins."""
_COUNTED = (
    "ids",
    "progress",
    "recency",
    "labels",
    "retentions",
    "running",
    "messages",
    "pieces",
    "versions",
    "deleted_ids",
    "requests",
    "turns",
)
"""Tables in which nothing may be that belongs to nobody."""


class Problem(NamedTuple):
    """Something that is wrong in a store."""

    session_id: str
    """Whose it is. Empty: no session's, or every one's."""
    what: str
    is_bearable: bool = True
    """False: not even the rest can be served."""


def problems(path: Path) -> Iterator[Problem]:
    """Yield all that is wrong with a data file, or a backup. May crash: see `ForkedReader`."""
    try:
        with offline.open_file(path) as file:
            book, is_sound = _Book(file), True
            for damage in offline.damage(file):
                is_sound = False
                yield Problem(_owner(book, damage), _damage_text(damage), is_bearable=bool(damage.key))
            # What is damaged disagrees with the rest: no need to say it twice.
            if is_sound and schema.is_current(file):
                yield from _Audit(book).problems()
    except OblixdError as error:
        yield Problem("", error.message, is_bearable=False)


class _Book:
    """The tables in a file. One that is missing is empty."""

    def __init__(self, file: offline.File) -> None:
        self._txn, self._tables = file

    def missing_tables(self) -> list[str]:
        """Return the tables that are not there. A file that was just made may have none."""
        missing = [name for name in TABLE_NAMES if name not in self._tables]
        return missing if self._tables.keys() - {schema.TABLE} else []

    def get(self, table: str, key: bytes) -> bytes | None:
        found = self._tables.get(table)
        return None if found is None else found.get(self._txn, key)

    def count(self, table: str) -> int:
        found = self._tables.get(table)
        return 0 if found is None else found.count(self._txn)

    def keys(self, table: str, prefix: bytes = b"") -> Iterator[bytes]:
        found = self._tables.get(table)
        return iter(()) if found is None else found.keys(self._txn, prefix)

    def last_key(self, table: str) -> bytes:
        found = self._tables.get(table)
        return (found and found.last_key(self._txn)) or b""

    def items(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        found = self._tables.get(table)
        return iter(()) if found is None else found.scan(self._txn, prefix)


class _Audit:
    """Holds the tables of a file against each other. Every record is sound."""

    def __init__(self, book: _Book) -> None:
        self._book = book
        self._expected_counts: Counter[str] = Counter()
        """By table: records that belong to somebody."""

    def problems(self) -> Iterator[Problem]:
        for key, payload in self._book.items("sessions"):
            yield from self._session(key, records.SessionRecord.FromString(payload))
        for key, payload in self._book.items("deleted"):
            yield from self._check_deleted(key, records.DeletedRecord.FromString(payload))
        for key in self._book.keys("garbage"):
            for table in ("messages", "versions", "pieces"):
                self._count(table, key)
            yield from self._turns("", key)
        for table in _COUNTED:
            if stray := self._book.count(table) - self._expected_counts[table]:
                yield Problem("", f"{abs(stray)} records of {table} belong to no session")
        yield from self._label_counts()
        yield from self._numbers()
        for table in self._book.missing_tables():
            # No checksum is over their names.
            yield Problem("", f"the table {table} is gone", is_bearable=False)

    def _session(self, key: bytes, header: records.SessionRecord) -> Iterator[Problem]:
        payload = self._book.get("progress", key)
        if payload is None:
            yield Problem(header.id, "its progress record is missing")
            return
        self._expected_counts["progress"] += 1
        progress = records.ProgressRecord.FromString(payload)
        if header.is_lost:
            yield Problem(header.id, "its header is lost, so that it is refused until it is deleted")
        yield from self._check_entries(header.id, entries_of(key, header, progress))
        yield from self._messages(header.id, key, progress)
        yield from self._turns(header.id, key)
        if progress.HasField("running"):
            yield from self._pieces(header.id, key + number_key(progress.running.answer_sequence))
            if self._book.get("turns", key + pack(progress.running.request_id)) is None:
                yield Problem(header.id, "its running turn is not found in turns")

    def _check_deleted(self, key: bytes, deleted: records.DeletedRecord) -> Iterator[Problem]:
        session_id = deleted.header.id
        position = DELETED + position_key(deleted.delete_us, session_id)
        yield from self._check_entries(
            session_id, [("deleted_ids", session_id.encode(), key), ("recency", position, key)]
        )
        yield from self._messages(session_id, key, deleted.progress)
        yield from self._turns(session_id, key)

    def _check_entries(self, session_id: str, entries: list[tuple[str, bytes, bytes]]) -> Iterator[Problem]:
        """Check every entry that must exist, and what it leads to."""
        for table, key, value in entries:
            if self._book.get(table, key) == value:
                self._expected_counts[table] += 1
            else:
                yield Problem(session_id, f"it is not found in {table}")

    def _messages(self, session_id: str, key: bytes, progress: records.ProgressRecord) -> Iterator[Problem]:
        """Yield each number without a record, unless it waits for the running turn's answer."""
        expected, messages = first_of(progress), 0
        for found, payload in self._book.items("messages", key):
            self._expected_counts["messages"] += 1
            messages += payload != TOMBSTONE
            if sequence_of(found) < first_of(progress):
                yield Problem(session_id, f"message {sequence_of(found)} stands before the first one")
            yield from _missing_messages(session_id, progress, expected, sequence_of(found))
            expected = sequence_of(found) + 1
        yield from _missing_messages(session_id, progress, expected, progress.next_sequence)
        if expected > progress.next_sequence:
            yield Problem(session_id, f"message {expected - 1} stands where the next one goes")
        if messages != progress.message_count:
            yield Problem(session_id, f"it has {messages} messages and counts {progress.message_count}")
        yield from self._versions(session_id, key, progress)

    def _pieces(self, session_id: str, answer: bytes) -> Iterator[Problem]:
        """Yield a checkpoint before another, or the first one of an answer that has begun, is missing."""
        numbers = [
            int.from_bytes(found[2 * NUMBER_BYTES :], "big") for found in self._book.keys("pieces", answer)
        ]
        self._expected_counts["pieces"] += len(numbers)
        wanted = max(len(numbers), 1 if self._book.get("messages", answer) else 0)
        if numbers != list(range(wanted)):
            yield Problem(session_id, "a part of the answer that is being written is missing")

    def _versions(self, session_id: str, key: bytes, progress: records.ProgressRecord) -> Iterator[Problem]:
        """Check the versions: each belongs to a message, or to the answer that is being written anew."""
        for found in self._book.keys("versions", key):
            self._expected_counts["versions"] += 1
            is_there = self._book.get("messages", found[: 2 * NUMBER_BYTES])
            if not is_there and sequence_of(found) != progress.running.answer_sequence:
                yield Problem(session_id, f"message {sequence_of(found)} is gone and has a version left")

    def _turns(self, session_id: str, key: bytes) -> Iterator[Problem]:
        for turn in self._book.keys("turns", key):
            self._expected_counts["turns"] += 1
            request_id = turn[NUMBER_BYTES:]
            payload = self._book.get("requests", request_id)
            if payload is None or number_key(records.RequestRecord.FromString(payload).number) != key:
                yield Problem(session_id, f"its request {unpack(request_id)} is not found in requests")
            else:
                self._expected_counts["requests"] += 1

    def _label_counts(self) -> Iterator[Problem]:
        total = 0
        for label, payload in self._book.items("label_counts"):
            total += (there := sum(1 for _ in self._book.keys("labels", label)))
            if there != (counted := int.from_bytes(payload, "big")):
                yield Problem("", f"the label {label.hex()} has {there} sessions and counts {counted}")
        if total != self._book.count("labels"):
            yield Problem("", "labels are not counted")

    def _numbers(self) -> Iterator[Problem]:
        following = self._book.get("counters", NEXT_NUMBER) or number_key(1)
        for table in ("sessions", "deleted", "garbage"):
            if self._book.last_key(table) >= following:
                yield Problem("", f"numbers in {table} would be given out again")

    def _count(self, table: str, prefix: bytes) -> None:
        self._expected_counts[table] += sum(1 for _ in self._book.keys(table, prefix))


def _missing_messages(
    session_id: str, progress: records.ProgressRecord, start: int, end: int
) -> Iterator[Problem]:
    gone = [sequence for sequence in range(start, end) if sequence != progress.running.answer_sequence]
    if gone:
        what = f"message {gone[0]} is" if len(gone) == 1 else f"messages {gone[0]} to {gone[-1]} are"
        yield Problem(session_id, f"{what} missing")


def entries_of(
    key: bytes, header: records.SessionRecord, progress: records.ProgressRecord
) -> list[tuple[str, bytes, bytes]]:
    """Return where a session has to be found: table, key, value."""
    partition, position = partition_of(progress), position_key(progress.update_us, header.id)
    entries = [("ids", header.id.encode(), key), ("recency", partition + position, key)]
    entries += [("labels", partition + label + position, key) for label in labels_of(header.metadata)]
    entries += [("sources", source + key, b"") for source in source_keys(header)]
    if header.HasField("retention"):
        entries.append(("retentions", key, b""))
    if progress.HasField("running"):
        entries.append(("running", key, b""))
    return entries


def _damage_text(damage: offline.Damage) -> str:
    if damage.table == "messages" and damage.key:
        return f"message {sequence_of(damage.key)} is damaged"
    return damage.what


def _owner(book: _Book, damage: offline.Damage) -> str:
    """Return the session that a damaged record belongs to, as far as that can be known."""
    table, key = damage.table, damage.key
    with suppress(DataLossError, UnicodeDecodeError):
        if not key:
            return ""
        if table in _BY_ID:
            return key.decode()
        if table in _PLACES:
            return session_id_of(key[_PLACES[table] :])
        if table in _BY_NUMBER:
            return _id_of(book, key[:NUMBER_BYTES])
    return ""


def _id_of(book: _Book, number: bytes) -> str:
    with suppress(DataLossError):
        if header := book.get("sessions", number):
            return records.SessionRecord.FromString(header).id
        if deleted := book.get("deleted", number):
            return records.DeletedRecord.FromString(deleted).header.id
    return next((key.decode() for key, found in book.items("ids") if found == number), "")
