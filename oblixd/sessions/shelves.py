"""Where sessions are looked for: the open ones, the archived ones and the deleted ones apart.

A shelf is an order by time, as a whole and for each label. What no list shows is on a
shelf that it does not walk, so that a million archived sessions cost it nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from operator import itemgetter

from oblixd.sessions.labels import split
from oblixd.sessions.refs import Ref
from oblixd.sessions.tables import Tables, number_key, place_key
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

OPEN, ARCHIVED, DELETED = b"o", b"a", b"d"


@dataclass(frozen=True, slots=True)
class Range:
    """What to walk: which shelves, with which labels, which part of the order."""

    shelves: tuple[bytes, ...] = (OPEN,)
    labels: tuple[bytes, ...] = ()
    """All of these. Deleted sessions can't be found by labels."""
    first: bytes = b""
    """The least place (inclusive). Empty: no bound."""
    end: bytes = b""
    """The place behind the greatest (exclusive). Empty: no bound."""


Candidate = tuple[bytes, int | None]
"""A place in the order, and the number of the session there; None where it lacks one of the labels."""


class Shelves:
    """Every method is one step inside the caller's transaction."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def put(self, txn: Transaction, ref: Ref, progress: records.ProgressRecord) -> None:
        """Lets a session be found at its place."""
        shelf, place, value = (
            shelf_of(progress),
            place_key(progress.update_us, ref.id),
            number_key(ref.number),
        )
        self._tables.recency.put(txn, shelf + place, value)
        for label in split(progress.labels):
            self._tables.labels.put(txn, shelf + label + place, value)
            self._count(txn, shelf + label, 1)

    def take(self, txn: Transaction, ref: Ref, progress: records.ProgressRecord) -> None:
        """Lets it no longer be found there."""
        shelf, place = shelf_of(progress), place_key(progress.update_us, ref.id)
        self._tables.recency.delete(txn, shelf + place)
        for label in split(progress.labels):
            self._tables.labels.delete(txn, shelf + label + place)
            self._count(txn, shelf + label, -1)

    def move(self, txn: Transaction, ref: Ref, progress: records.ProgressRecord, update_us: int) -> None:
        """Moves a session to its new place, and notes that in its progress record."""
        shelf, value = shelf_of(progress), number_key(ref.number)
        old, new = place_key(progress.update_us, ref.id), place_key(update_us, ref.id)
        self._tables.recency.delete(txn, shelf + old)
        self._tables.recency.put(txn, shelf + new, value)
        for label in split(progress.labels):
            self._tables.labels.delete(txn, shelf + label + old)
            self._tables.labels.put(txn, shelf + label + new, value)
        progress.update_us = update_us

    def put_deleted(self, txn: Transaction, ref: Ref, delete_us: int) -> None:
        """Lets a deleted session be found by when it was deleted."""
        self._tables.recency.put(txn, DELETED + place_key(delete_us, ref.id), number_key(ref.number))

    def take_deleted(self, txn: Transaction, ref: Ref, delete_us: int) -> None:
        """Lets it no longer be found there."""
        self._tables.recency.delete(txn, DELETED + place_key(delete_us, ref.id))

    def walk(self, txn: Transaction, wanted: Range, place: bytes = b"") -> Iterator[Candidate]:
        """The candidates of a range, newest first, from behind `place`."""
        walks = [self._walk(txn, shelf, wanted, place or wanted.end) for shelf in wanted.shelves]
        if len(walks) == 1:
            return walks[0]
        return heapq.merge(*walks, key=itemgetter(0), reverse=True)

    def _walk(self, txn: Transaction, shelf: bytes, wanted: Range, end: bytes) -> Iterator[Candidate]:
        table, prefix, others = self._tables.recency, shelf, wanted.labels
        if wanted.labels:
            rarest = min(wanted.labels, key=lambda label: self.label_count(txn, shelf, label))
            table, prefix = self._tables.labels, shelf + rarest
            others = tuple(label for label in wanted.labels if label != rarest)
        scan = table.descending(txn, prefix, prefix + end if end else b"")
        found = ((key[len(prefix) :], value) for key, value in scan)
        within = takewhile(lambda item: item[0] >= wanted.first, found)
        return (self._checked(txn, shelf, place, value, others) for place, value in within)

    def _checked(
        self, txn: Transaction, shelf: bytes, place: bytes, value: bytes, labels: Sequence[bytes]
    ) -> Candidate:
        there = all(self._tables.labels.get(txn, shelf + label + place) is not None for label in labels)
        return place, int.from_bytes(value, "big") if there else None

    def label_count(self, txn: Transaction, shelf: bytes, label: bytes) -> int:
        """How many sessions of a shelf have a label."""
        return int.from_bytes(self._tables.label_counts.get(txn, shelf + label) or b"", "big")

    def _count(self, txn: Transaction, key: bytes, change: int) -> None:
        count = int.from_bytes(self._tables.label_counts.get(txn, key) or b"", "big") + change
        if count:
            self._tables.label_counts.put(txn, key, number_key(count))
        else:
            self._tables.label_counts.delete(txn, key)


def shelf_of(progress: records.ProgressRecord) -> bytes:
    """On which shelf a session stands that is not deleted."""
    return ARCHIVED if progress.archived else OPEN
