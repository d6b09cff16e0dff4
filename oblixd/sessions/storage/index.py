"""Where sessions are looked for: the open ones, the archived ones and the deleted ones apart.

A partition is an order by time, as a whole and for each label. What no list shows is on a
partition that it does not walk, so that a million archived sessions cost it nothing.

Labels: what a session's metadata can be filtered by.

A filter's key names a metadata value: the top-level key of that very name where
there is one, else the value at the dotted path. Only scalars can be filtered by;
lists are not looked into.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from operator import itemgetter

from google.protobuf.struct_pb2 import Struct, Value

from oblixd.errors import DataLossError
from oblixd.sessions.storage.keys import SessionKey
from oblixd.sessions.storage.schema import Tables, number_key, position_key
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

LABEL_BYTES = 16


def labels_of(metadata: Struct) -> list[bytes]:
    """Return the labels of a session, one for each filter key that has a scalar value there. Sorted."""
    named = {".".join(path): value for path, value in _leaves(metadata, ()) if "." not in "".join(path)}
    # A literal key shadows a path of the same spelling, also where its value is no scalar.
    named.update(metadata.fields)
    return sorted(label(key, value) for key, value in named.items() if is_scalar(value))


def label(key: str, value: Value) -> bytes:
    """Return the hash of a filter's key and a scalar. Equal numbers are equal; true is not 1."""
    encoded = key.encode()
    size = len(encoded).to_bytes(4, "big")
    return blake2b(size + encoded + _canonical(value), digest_size=LABEL_BYTES).digest()


def split(labels: bytes) -> list[bytes]:
    """Labels that are kept one after the other."""
    return [labels[at : at + LABEL_BYTES] for at in range(0, len(labels), LABEL_BYTES)]


def is_scalar(value: Value) -> bool:
    """Return True for a text, a number, a boolean and null."""
    return value.WhichOneof("kind") in {"string_value", "number_value", "bool_value", "null_value"}


def _leaves(container: Struct, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Value]]:
    for key, value in container.fields.items():
        if value.HasField("struct_value"):
            yield from _leaves(value.struct_value, (*path, key))
        else:
            yield (*path, key), value


def _canonical(value: Value) -> bytes:
    match value.WhichOneof("kind"):
        case "string_value":
            return b"s" + value.string_value.encode()
        case "number_value":
            # 0.0 and -0.0 are the same number; adding 0.0 makes them the same bytes.
            return b"n" + struct.pack(">d", value.number_value + 0.0)
        case "bool_value":
            return b"t" if value.bool_value else b"f"
        case _:
            return b"0"


OPEN, ARCHIVED, DELETED = b"o", b"a", b"d"


@dataclass(frozen=True, slots=True)
class Range:
    """What to walk: which partitions, with which labels, which part of the order."""

    partitions: tuple[bytes, ...] = (OPEN,)
    labels: tuple[bytes, ...] = ()
    """All of these. Deleted sessions can't be found by labels."""
    first: bytes = b""
    """The least place (inclusive). Empty: no bound."""
    end: bytes = b""
    """The place behind the greatest (exclusive). Empty: no bound."""


DAMAGED = 0
"""Stands for the number of a session whose entry in the index is damaged. No session has it."""

Candidate = tuple[bytes, int | None]
"""A place in the order, and the number of the session there; None where it lacks one of the labels."""


class SessionIndex:
    """Every method is one step inside the caller's transaction."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def put(self, txn: Transaction, ref: SessionKey, progress: records.ProgressRecord) -> None:
        """Let a session be found at its place."""
        partition, position, value = (
            partition_of(progress),
            position_key(progress.update_us, ref.id),
            number_key(ref.number),
        )
        self._tables.recency.put(txn, partition + position, value)
        for label in split(progress.labels):
            self._tables.labels.put(txn, partition + label + position, value)
            self._count(txn, partition + label, 1)

    def take(self, txn: Transaction, ref: SessionKey, progress: records.ProgressRecord) -> None:
        """Let it no longer be found there."""
        partition, position = partition_of(progress), position_key(progress.update_us, ref.id)
        self._tables.recency.delete(txn, partition + position)
        for label in split(progress.labels):
            self._tables.labels.delete(txn, partition + label + position)
            self._count(txn, partition + label, -1)

    def move(
        self, txn: Transaction, ref: SessionKey, progress: records.ProgressRecord, update_us: int
    ) -> None:
        """Move a session to its new place, and note that in its progress record."""
        partition, value = partition_of(progress), number_key(ref.number)
        old, new = position_key(progress.update_us, ref.id), position_key(update_us, ref.id)
        self._tables.recency.delete(txn, partition + old)
        self._tables.recency.put(txn, partition + new, value)
        for label in split(progress.labels):
            self._tables.labels.delete(txn, partition + label + old)
            self._tables.labels.put(txn, partition + label + new, value)
        progress.update_us = update_us

    def put_deleted(self, txn: Transaction, ref: SessionKey, delete_us: int) -> None:
        """Let a deleted session be found by when it was deleted."""
        self._tables.recency.put(txn, DELETED + position_key(delete_us, ref.id), number_key(ref.number))

    def take_deleted(self, txn: Transaction, ref: SessionKey, delete_us: int) -> None:
        """Let it no longer be found there."""
        self._tables.recency.delete(txn, DELETED + position_key(delete_us, ref.id))

    def walk(self, txn: Transaction, wanted: Range, position: bytes = b"") -> Iterator[Candidate]:
        """Return the candidates of a range, newest first, from behind `place`."""
        walks = [
            self._walk(txn, partition, wanted, position or wanted.end) for partition in wanted.partitions
        ]
        if len(walks) == 1:
            return walks[0]
        return heapq.merge(*walks, key=itemgetter(0), reverse=True)

    def _walk(self, txn: Transaction, partition: bytes, wanted: Range, end: bytes) -> Iterator[Candidate]:
        table, prefix, others = self._tables.recency, partition, wanted.labels
        if wanted.labels:
            rarest = min(wanted.labels, key=lambda label: self.label_count(txn, partition, label))
            table, prefix = self._tables.labels, partition + rarest
            others = tuple(label for label in wanted.labels if label != rarest)
        for key, value in table.scan_back_past_damage(txn, prefix, prefix + end if end else b""):
            position = key[len(prefix) :]
            if position < wanted.first:
                return
            number = DAMAGED if value is None else int.from_bytes(value, "big")
            yield position, self._if_labelled(txn, partition, position, others, number) if others else number

    def _if_labelled(
        self, txn: Transaction, partition: bytes, position: bytes, labels: Sequence[bytes], number: int
    ) -> int | None:
        """Return the number of a session that has all of the labels, else None."""
        try:
            keys = (partition + label + position for label in labels)
            has_all = all(self._tables.labels.get(txn, key) is not None for key in keys)
        except DataLossError:
            return DAMAGED
        return number if has_all or number == DAMAGED else None

    def label_count(self, txn: Transaction, partition: bytes, label: bytes) -> int:
        """Count the sessions of a partition that have a label."""
        return int.from_bytes(self._tables.label_counts.get(txn, partition + label) or b"", "big")

    def _count(self, txn: Transaction, key: bytes, change: int) -> None:
        count = int.from_bytes(self._tables.label_counts.get(txn, key) or b"", "big") + change
        if count:
            self._tables.label_counts.put(txn, key, number_key(count))
        else:
            self._tables.label_counts.delete(txn, key)


def partition_of(progress: records.ProgressRecord) -> bytes:
    """Return the partition of a session that is not deleted."""
    return ARCHIVED if progress.archived else OPEN
