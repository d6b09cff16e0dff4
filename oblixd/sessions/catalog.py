"""A session's records and the indexes over them, kept together inside one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from oblix.v1 import sessions_pb2 as pb

from oblixd.errors import AlreadyExistsError, NotFoundError
from oblixd.sessions.labels import labels_of, split
from oblixd.sessions.tables import Tables, number_key, recency_key
from oblixd.sessions.times import timestamp
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

_NEXT_NUMBER = b"next_session_number"


class Ref(NamedTuple):
    """Which session is meant."""

    number: int
    id: str


@dataclass(slots=True)
class Entry:
    """One session inside a transaction: its number and its two records."""

    number: int
    header: records.SessionRecord
    progress: records.ProgressRecord

    @property
    def ref(self) -> Ref:
        """Which session this is."""
        return Ref(self.number, self.header.id)

    def session(self) -> pb.Session:
        """The session as the contract tells it."""
        header, progress = self.header, self.progress
        return pb.Session(
            id=header.id,
            title=header.title,
            create_time=timestamp(header.create_us),
            update_time=timestamp(progress.update_us),
            etag=f"{self.number:x}-{header.version:x}",
            metadata=header.metadata,
            context=header.context,
            local_only=header.local_only,
            archived=header.archived,
            parent_session_id=header.parent_session_id,
            message_count=progress.message_count,
            running_request_id=progress.running.request_id,
        )


class Catalog:
    """What may be done to sessions; every method is one step inside the caller's transaction."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def find(self, txn: Transaction, session_id: str) -> Ref | None:
        """The session of an id, or None."""
        found = self.tables.ids.get(txn, session_id.encode())
        return None if found is None else Ref(int.from_bytes(found, "big"), session_id)

    def ref(self, txn: Transaction, session_id: str) -> Ref:
        """The session of an id; NotFoundError where there is none."""
        found = self.find(txn, session_id)
        if found is None:
            raise not_found(session_id)
        return found

    def progress(self, txn: Transaction, ref: Ref) -> records.ProgressRecord:
        """What messages change; NotFoundError where the session was deleted."""
        payload = self.tables.progress.get(txn, number_key(ref.number))
        if payload is None:
            raise not_found(ref.id)
        return records.ProgressRecord.FromString(payload)

    def entry(self, txn: Transaction, ref: Ref) -> Entry:
        """Both records; NotFoundError where the session was deleted."""
        progress = self.progress(txn, ref)
        return Entry(ref.number, self._header(txn, ref.number), progress)

    def numbered(self, txn: Transaction, number: int) -> Entry:
        """Both records of a session that an index names: it must be there."""
        header = self._header(txn, number)
        return Entry(number, header, self.progress(txn, Ref(number, header.id)))

    def _header(self, txn: Transaction, number: int) -> records.SessionRecord:
        key = number_key(number)
        payload = self.tables.sessions.get(txn, key)
        if payload is None:
            raise self.tables.sessions.damaged(key)
        return records.SessionRecord.FromString(payload)

    def new_number(self, txn: Transaction) -> int:
        """A number that no session ever had."""
        counters = self.tables.counters
        number = int.from_bytes(counters.get(txn, _NEXT_NUMBER) or b"\x01", "big")
        counters.put(txn, _NEXT_NUMBER, number_key(number + 1))
        return number

    def publish(self, txn: Transaction, entry: Entry) -> None:
        """Makes a session seen. AlreadyExistsError where its id is taken."""
        tables, key = self.tables, number_key(entry.number)
        if self.find(txn, entry.header.id) is not None:
            raise taken_id(entry.header.id)
        tables.ids.put(txn, entry.header.id.encode(), key)
        tables.garbage.delete(txn, key)
        self._label(txn, entry)
        self._index(txn, entry)
        self.put_header(txn, entry)
        self.put_progress(txn, entry.ref, entry.progress)

    def put_header(self, txn: Transaction, entry: Entry) -> None:
        """Writes the header as its next version."""
        entry.header.version += 1
        self.tables.sessions.put(txn, number_key(entry.number), entry.header.SerializeToString())

    def put_progress(self, txn: Transaction, ref: Ref, progress: records.ProgressRecord) -> None:
        """Writes the progress record, leaving the indexes alone."""
        self.tables.progress.put(txn, number_key(ref.number), progress.SerializeToString())

    def touch(self, txn: Transaction, ref: Ref, progress: records.ProgressRecord, update_us: int) -> None:
        """Moves the session to its new place in the order, and writes the progress record."""
        old, new = recency_key(progress.update_us, ref.id), recency_key(update_us, ref.id)
        value = number_key(ref.number)
        self.tables.recency.delete(txn, old)
        self.tables.recency.put(txn, new, value)
        for label in split(progress.labels):
            self.tables.labels.delete(txn, label + old)
            self.tables.labels.put(txn, label + new, value)
        progress.update_us = update_us
        self.put_progress(txn, ref, progress)

    def rewrite(self, txn: Transaction, entry: Entry, update_us: int) -> None:
        """Writes a changed header, and the indexes anew."""
        self._unindex(txn, entry.ref, entry.progress)
        entry.progress.update_us = update_us
        self._label(txn, entry)
        self._index(txn, entry)
        self.put_header(txn, entry)
        self.put_progress(txn, entry.ref, entry.progress)

    def remove(self, txn: Transaction, ref: Ref, progress: records.ProgressRecord) -> None:
        """Makes a session unseen at once, also one whose header is damaged; its messages are swept later."""
        tables, key = self.tables, number_key(ref.number)
        self._unindex(txn, ref, progress)
        tables.ids.delete(txn, ref.id.encode())
        tables.sessions.delete(txn, key)
        tables.progress.delete(txn, key)
        tables.running.delete(txn, key)
        tables.garbage.put(txn, key, b"")

    def _label(self, txn: Transaction, entry: Entry) -> None:
        entry.progress.labels = b"".join(labels_of(entry.header.metadata))

    def _index(self, txn: Transaction, entry: Entry) -> None:
        place, value = recency_key(entry.progress.update_us, entry.header.id), number_key(entry.number)
        self.tables.recency.put(txn, place, value)
        for label in split(entry.progress.labels):
            self.tables.labels.put(txn, label + place, value)
            self._count(txn, label, 1)

    def _unindex(self, txn: Transaction, ref: Ref, progress: records.ProgressRecord) -> None:
        place = recency_key(progress.update_us, ref.id)
        self.tables.recency.delete(txn, place)
        for label in split(progress.labels):
            self.tables.labels.delete(txn, label + place)
            self._count(txn, label, -1)

    def _count(self, txn: Transaction, label: bytes, change: int) -> None:
        count = self.label_count(txn, label) + change
        if count:
            self.tables.label_counts.put(txn, label, number_key(count))
        else:
            self.tables.label_counts.delete(txn, label)

    def label_count(self, txn: Transaction, label: bytes) -> int:
        """How many sessions have a label."""
        return int.from_bytes(self.tables.label_counts.get(txn, label) or b"", "big")


def not_found(session_id: str) -> NotFoundError:
    """The error for a session that is not there."""
    return NotFoundError(
        "SESSION_NOT_FOUND",
        f"There is no session {session_id}. List the sessions to see which there are.",
        session_id=session_id,
    )


def taken_id(session_id: str) -> AlreadyExistsError:
    """The error for an id that another session has."""
    return AlreadyExistsError(
        "SESSION_EXISTS",
        f"There is a session {session_id} already. Import under a new id, or delete that one.",
        session_id=session_id,
    )
