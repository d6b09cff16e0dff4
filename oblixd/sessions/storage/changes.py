"""What happened to sessions: the last changes of their headers, each with its revision.

A revision is counted up by each change, in the transaction that makes it, so that what
is read together with it is exactly as old. Checkpoints of a running answer are no changes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from oblixd.errors import DataLossError
from oblixd.sessions.storage.index import split
from oblixd.sessions.storage.keys import SessionKey
from oblixd.sessions.storage.schema import Tables, number_key
from oblixd.store import Store, Transaction
from oblixd.store.offline import File
from oblixd.store.v1 import records_pb2 as records

logger = logging.getLogger(__name__)

MIN_CHANGES = 100_000
"""How many changes are kept at least."""
TRIM_BATCH = 200
"""How many more there can be: the oldest are removed by the hundreds, which costs an append less."""
STORE_ID = b"store_id"
"""The counter that holds the store's id. A restored copy must lose it: its revisions mean other changes."""
REVISION_LEAP = 10**9
"""How far a restored copy's revisions begin behind those of the backup."""
_STORE_ID_BYTES = 16


class Change(NamedTuple):
    """That a session was made, written to, updated, archived, deleted or brought back."""

    revision: int
    number: int
    session_id: str
    labels_before: frozenset[bytes] | None
    """What it was found by before, where that may have become less. None: it has not."""


class ChangeLog:
    """Writes the changes; every method is one step inside the caller's transaction."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def note(self, txn: Transaction, ref: SessionKey, labels_before: bytes | None = None) -> None:
        """Note that a session changed; `labels_before` where it may be found by less now."""
        changes, revision = self._tables.changes, self.revision(txn) + 1
        record = records.ChangeRecord(number=ref.number, session_id=ref.id, labels_before=labels_before)
        changes.put(txn, number_key(revision), record.SerializeToString())
        if revision % TRIM_BATCH == 0 and changes.count(txn) >= MIN_CHANGES + TRIM_BATCH:
            changes.delete_all(txn, b"", TRIM_BATCH)

    def revision(self, txn: Transaction) -> int:
        """Return the revision of the last change. 0: there was none."""
        return int.from_bytes(self._tables.changes.last_key(txn) or b"", "big")

    def oldest(self, txn: Transaction) -> int:
        """Return the least revision that can be gone on from."""
        first = self._tables.changes.first_key(txn)
        return int.from_bytes(first, "big") - 1 if first else 0

    def after(self, txn: Transaction, revision: int, limit: int) -> list[Change] | None:
        """Return the next changes, oldest first. None: they are no longer known."""
        if revision < self.oldest(txn):
            return None
        scan = self._tables.changes.scan(txn, b"", number_key(revision + 1))
        try:
            return [_change(key, payload) for key, payload in islice(scan, limit)]
        except DataLossError:
            # Who follows begins anew, which costs time and nothing else.
            logger.exception("the changes after %d can't be told", revision)
            return None

    def make_store_id(self, txn: Transaction) -> None:
        """Give the store an id, where it has none: it is new, or a copy that was restored."""
        if self._tables.counters.get(txn, STORE_ID) is None:
            self._tables.counters.put(txn, STORE_ID, os.urandom(_STORE_ID_BYTES))
            self._leap(txn)

    def _leap(self, txn: Transaction) -> None:
        """Go on behind every revision that the store may have told before it was restored.

        Whoever followed it then is too far behind, and begins anew.
        """
        changes, revision = self._tables.changes, self.revision(txn)
        if revision:
            last = changes.get(txn, number_key(revision)) or b""
            changes.delete_all(txn, b"")
            changes.put(txn, number_key(revision + REVISION_LEAP), last)


def forget_store_id(file: File) -> None:
    """Take the store's id away from a file; the daemon gives it another one.

    Revisions are counted on from where a backup was made, so what somebody noted of
    them since (a search index, a watcher) means other changes.
    """
    if counters := file.tables.get("counters"):
        counters.delete(file.txn, STORE_ID)


def _change(key: bytes, payload: bytes) -> Change:
    record = records.ChangeRecord.FromString(payload)
    before = frozenset(split(record.labels_before)) if record.HasField("labels_before") else None
    return Change(int.from_bytes(key, "big"), record.number, record.session_id, before)


class Changes:
    """What the rest of the package follows. The reads are short and may be made on any thread."""

    def __init__(self, store: Store, tables: Tables, log: ChangeLog) -> None:
        self._store = store
        self._counters = tables.counters
        self._log = log
        self.announced_revision = self.newest()
        """The revision that the listeners were called for last."""
        self.listeners: list[Callable[[], None]] = []
        """Called on the loop after changes that are durable, once for each group of writes."""
        store.on_commit(self._announce)

    def store_id(self) -> bytes:
        """Return which store this is; a copy that was restored from a backup is another one."""
        with self._store.read() as txn:
            return self._counters.get(txn, STORE_ID) or b""

    def newest(self) -> int:
        """Return the revision of the last change. 0: there was none."""
        with self._store.read() as txn:
            return self._log.revision(txn)

    def oldest(self) -> int:
        """Return the least revision that can be gone on from."""
        with self._store.read() as txn:
            return self._log.oldest(txn)

    def after(self, revision: int, limit: int) -> list[Change] | None:
        """Return the next changes, oldest first. None: they are no longer known."""
        with self._store.read() as txn:
            return self._log.after(txn, revision, limit)

    def _announce(self) -> None:
        newest = self.newest()
        if newest == self.announced_revision:
            return
        self.announced_revision = newest
        for listener in self.listeners:
            listener()
