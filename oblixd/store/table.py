"""One named database whose every value carries a checksum."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from oblixd.errors import DataLossError

if TYPE_CHECKING:
    import lmdb

Transaction: TypeAlias = "lmdb.Transaction[bytes]"

CHECKSUM_BYTES = 4
DAMAGE = {
    "checksum": "its checksum does not hold",
    "missing": "the record is missing",
    "unexpected": "there is a record where none may be",
}
"""What can be wrong with a record, by the word in an error's metadata `damage`."""


def add_checksum(key: bytes, payload: bytes) -> bytes:
    """Return the value to store: a CRC-32 over key and payload, then the payload.

    The key is in it, so that a value that stands under another key is damage, too.
    """
    return zlib.crc32(payload, zlib.crc32(key)).to_bytes(CHECKSUM_BYTES, "big") + payload


class Table:
    """One named database in the store. Keys are at most 511 bytes, and not empty."""

    def __init__(self, name: str, database: lmdb._Database) -> None:
        self.name = name
        self._database = database

    def get(self, txn: Transaction, key: bytes) -> bytes | None:
        """Return the payload under a key, or None. DataLossError where it is damaged."""
        value = txn.get(key, db=self._database)
        return None if value is None else self.unseal(key, value)

    def sealed_value(self, txn: Transaction, key: bytes) -> bytes | None:
        """Return the value under a key as it is stored, or None. `unseal` checks it and gives the payload."""
        return txn.get(key, db=self._database)

    def put(self, txn: Transaction, key: bytes, payload: bytes) -> None:
        """Write a payload, over what is there."""
        txn.put(key, add_checksum(key, payload), db=self._database)

    def put_all(self, txn: Transaction, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Write many payloads, each over what is there."""
        sealed = [(key, add_checksum(key, payload)) for key, payload in items]
        with txn.cursor(self._database) as cursor:
            cursor.putmulti(sealed)

    def add_all(self, txn: Transaction, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Write many payloads under keys that must be new. DataLossError when one of them is there.

        The transaction may hold a part of them then: the caller lets it be aborted.
        """
        sealed = [(key, add_checksum(key, payload)) for key, payload in items]
        with txn.cursor(self._database) as cursor:
            _, added = cursor.putmulti(sealed, overwrite=False)
        if added < len(sealed):
            raise self.unexpected_error(
                next(key for key, value in sealed if txn.get(key, db=self._database) != value)
            )

    def delete(self, txn: Transaction, key: bytes) -> bool:
        """Remove a key. False where it was not there."""
        return txn.delete(key, db=self._database)

    def clear(self, txn: Transaction) -> None:
        """Remove every key."""
        txn.drop(self._database, delete=False)

    def count(self, txn: Transaction) -> int:
        """Count the keys. Costs nothing."""
        return txn.stat(self._database)["entries"]

    def size(self, txn: Transaction) -> int:
        """Return the bytes of the pages that it has. Costs nothing."""
        stat = txn.stat(self._database)
        return stat["psize"] * (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"])

    def first_key(self, txn: Transaction) -> bytes | None:
        """Return the least key, or None. Its value is not looked at."""
        with txn.cursor(self._database) as cursor:
            return cursor.key() if cursor.first() else None

    def last_key(self, txn: Transaction) -> bytes | None:
        """Return the greatest key, or None. Its value is not looked at."""
        with txn.cursor(self._database) as cursor:
            return cursor.key() if cursor.last() else None

    def scan(self, txn: Transaction, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys and payloads under a prefix, from `start` (inclusive), in order of key."""
        with txn.cursor(self._database) as cursor:
            more = cursor.set_range(max(prefix, start)) if prefix or start else cursor.first()
            while more:
                key, value = cursor.item()
                if not key.startswith(prefix):
                    return
                yield key, self.unseal(key, value)
                more = cursor.next()

    def keys(self, txn: Transaction, prefix: bytes, start: bytes = b"") -> Iterator[bytes]:
        """Yield the keys under a prefix, from `start` (inclusive), in order. The values are not looked at."""
        with txn.cursor(self._database) as cursor:
            more = cursor.set_range(max(prefix, start)) if prefix or start else cursor.first()
            while more and (key := cursor.key()).startswith(prefix):
                yield key
                more = cursor.next()

    def survey(self, txn: Transaction) -> Iterator[tuple[bytes, bool]]:
        """Yield every key, and whether its record is sound and found by its key. Looks through damage."""
        with txn.cursor(self._database) as cursor:
            more = cursor.first()
            while more:
                key, value = cursor.item()
                yield (
                    key,
                    add_checksum(key, value[CHECKSUM_BYTES:]) == value == txn.get(key, db=self._database),
                )
                more = cursor.next()

    def scan_back(
        self, txn: Transaction, prefix: bytes, before: bytes = b""
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys and payloads under a prefix, last first, from before `before` (exclusive)."""
        for key, value in self._back(txn, prefix, before):
            yield key, self.unseal(key, value)

    def scan_back_past_damage(
        self, txn: Transaction, prefix: bytes, before: bytes = b""
    ) -> Iterator[tuple[bytes, bytes | None]]:
        """Scan as `scan_back`; a damaged record has None for its payload, and the scan goes on."""
        for key, value in self._back(txn, prefix, before):
            try:
                yield key, self.unseal(key, value)
            except DataLossError:
                yield key, None

    def _back(self, txn: Transaction, prefix: bytes, before: bytes) -> Iterator[tuple[bytes, bytes]]:
        with txn.cursor(self._database) as cursor:
            beyond = before or _next_prefix(prefix)
            more = cursor.prev() if beyond and cursor.set_range(beyond) else cursor.last()
            while more:
                key, value = cursor.item()
                if not key.startswith(prefix):
                    return
                yield key, value
                more = cursor.prev()

    def delete_all(self, txn: Transaction, prefix: bytes, limit: int | None = None) -> int:
        """Remove the keys under a prefix, unread, up to `limit` of them. Says how many."""
        removed = 0
        with txn.cursor(self._database) as cursor:
            found = cursor.set_range(prefix)
            while found and removed != limit and cursor.key().startswith(prefix):
                cursor.delete()
                removed += 1
                found = cursor.set_range(prefix)
        return removed

    def damaged_error(self, key: bytes) -> DataLossError:
        """Make the error that names a record whose bytes were changed."""
        return self._damage(key, "checksum")

    def missing_error(self, key: bytes) -> DataLossError:
        """Make the error that names a record that must be there and is not."""
        return self._damage(key, "missing")

    def unexpected_error(self, key: bytes) -> DataLossError:
        """Make the error that names a record that must not be there."""
        return self._damage(key, "unexpected")

    def _damage(self, key: bytes, damage: str) -> DataLossError:
        return DataLossError(
            "RECORD_DAMAGED",
            f"The record {key.hex()} in {self.name} is damaged on disk: {DAMAGE[damage]}. "
            "It is not served. Restore the store from a backup.",
            table=self.name,
            key=key.hex(),
            damage=damage,
        )

    def unseal(self, key: bytes, value: bytes) -> bytes:
        """Return the payload of a stored value. DataLossError where it is damaged."""
        payload = value[CHECKSUM_BYTES:]
        if zlib.crc32(payload, zlib.crc32(key)).to_bytes(CHECKSUM_BYTES, "big") != value[:CHECKSUM_BYTES]:
            raise self.damaged_error(key)
        return payload


def _next_prefix(prefix: bytes) -> bytes:
    """Return the least key that is greater than every key under a prefix. Empty: there is none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b""
