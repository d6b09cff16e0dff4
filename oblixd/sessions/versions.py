"""Versions of messages that were replaced: by an edit, or by an answer anew.

A message's record says which version it is; those before it stand here, each once, under
the number that it had. They belong to their session and go with their message.
"""

from __future__ import annotations

from collections.abc import Iterator

from oblixd.sessions.tables import Tables, message_key, number_key
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records


class Versions:
    """Reads and writes versions; every method is one step inside the caller's transaction."""

    def __init__(self, tables: Tables) -> None:
        self._table = tables.versions

    def put(self, txn: Transaction, number: int, sequence: int, record: records.MessageRecord) -> None:
        """Keep a record that is about to be replaced, under its own version."""
        self._table.put(txn, _key(number, sequence, record.version), record.SerializeToString())

    def get(self, txn: Transaction, number: int, sequence: int, version: int) -> records.MessageRecord | None:
        """A version that was replaced, or None."""
        payload = self._table.get(txn, _key(number, sequence, version))
        return None if payload is None else records.MessageRecord.FromString(payload)

    def take(self, txn: Transaction, number: int, sequence: int, version: int) -> records.MessageRecord:
        """Remove a version and return it: it is to be current again. It must be there."""
        key = _key(number, sequence, version)
        record = self.get(txn, number, sequence, version)
        if record is None:
            raise self._table.missing(key)
        self._table.delete(txn, key)
        return record

    def ascending(self, txn: Transaction, number: int, sequence: int) -> Iterator[records.MessageRecord]:
        """The versions of a message, oldest first."""
        for _, payload in self._table.ascending(txn, message_key(number, sequence)):
            yield records.MessageRecord.FromString(payload)

    def descending(
        self, txn: Transaction, number: int, sequence: int, before: int
    ) -> Iterator[records.MessageRecord]:
        """The versions of a message before one, newest first."""
        prefix = message_key(number, sequence)
        for _, payload in self._table.descending(txn, prefix, prefix + number_key(before)):
            yield records.MessageRecord.FromString(payload)

    def delete_all(self, txn: Transaction, number: int, sequence: int) -> None:
        """Remove every version of a message."""
        self._table.delete_all(txn, message_key(number, sequence))


def _key(number: int, sequence: int, version: int) -> bytes:
    return message_key(number, sequence) + number_key(version)
