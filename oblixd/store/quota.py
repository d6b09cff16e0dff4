"""How far a store may grow, and the pages that are kept back for deletions.

liblmdb copies each page that it changes, so a store whose every page is in use can't even
delete. So a write that makes the tables grow is refused before that: the last part of the
map is for writes that give room back.
"""

from __future__ import annotations

from collections.abc import Mapping

import lmdb

from oblixd.errors import ResourceExhaustedError
from oblixd.store.table import Table, Transaction

RESERVE_SHARE = 8
"""One part in so many of the map is kept back,"""
MAX_RESERVE_BYTES = 2**26
"""but not more than this."""
NEAR_BYTES = 2**25
"""So far from the limit nothing is counted: a transaction is smaller than that."""
STRIDE_BYTES = 2**30
"""For each so many bytes of room one transaction goes by unseen: none is larger."""
ROOM_SHARE = 16
"""A store is full until one part in so many is free again."""


class Quota:
    """Counts the pages of a store's tables. Used inside the writer's transactions."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._tables = tables
        self._unseen = 0
        """How many transactions may go by before the file's size is looked at again."""
        self.is_full = False
        """True: a write was refused, and not enough was freed since."""

    def limit(self, environment: lmdb.Environment) -> int:
        """Return the bytes that tables may take with writes that make them grow."""
        map_size = environment.info()["map_size"]
        return map_size - min(map_size // RESERVE_SHARE, MAX_RESERVE_BYTES)

    def used_bytes(self, txn: Transaction) -> int:
        """Return the bytes of the pages that the tables have."""
        return sum(table.size(txn) for table in self._tables.values())

    def used_before_write(self, environment: lmdb.Environment, txn: Transaction) -> int | None:
        """Return what is used before a write; None where it is too far from the limit to be counted."""
        if self._unseen:
            self._unseen -= 1
            return None
        room = self.limit(environment) - _file_bytes(environment) - NEAR_BYTES
        self._unseen = max(room // STRIDE_BYTES, 0)
        return self.used_bytes(txn) if room < 0 else None

    def check(
        self, environment: lmdb.Environment, txn: Transaction, before: int | None, *, frees: bool
    ) -> None:
        """ResourceExhaustedError where a write made the tables grow past the limit, unless it `frees`."""
        if before is None:
            return
        used, limit = self.used_bytes(txn), self.limit(environment)
        if not frees and used > limit and used > before:
            self.is_full = True
            raise full_error(limit)
        if used <= limit - limit // ROOM_SHARE:
            self.is_full = False

    def explain(self, environment: lmdb.Environment) -> ResourceExhaustedError:
        """Make the error for a write without pages: all are in use, or not enough of them in a row."""
        with environment.begin() as txn:
            used, limit = self.used_bytes(txn), self.limit(environment)
        scattered = _file_bytes(environment) - used
        if used <= limit - limit // ROOM_SHARE and scattered > limit // ROOM_SHARE:
            return _fragmented_error(limit - used)
        self.is_full = True
        return full_error(limit)


def _file_bytes(environment: lmdb.Environment) -> int:
    """Return how far the file's pages were ever used."""
    return (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]


def full_error(limit: int) -> ResourceExhaustedError:
    """Make the error of a store without room."""
    return ResourceExhaustedError(
        "STORE_FULL",
        "The store has reached its size limit. Delete sessions: while the store is full, their room is given "
        "back at once. Or raise map_size_gib in the [store] section of the configuration and restart the "
        "daemon.",
        limit=limit,
    )


def _fragmented_error(free: int) -> ResourceExhaustedError:
    return ResourceExhaustedError(
        "STORE_FRAGMENTED",
        f"The store has {free:,} bytes free, but not in one piece that is large enough for this. End the "
        "daemon and call `oblixd compact`, or raise map_size_gib in the configuration's [store] section.",
        free=free,
    )
