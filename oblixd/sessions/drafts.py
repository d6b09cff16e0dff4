"""Sessions that are built unseen, in small transactions, and published by one."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from oblix.v1.sessions_pb2 import Session

from oblixd.sessions.catalog import Entry
from oblixd.sessions.garbage import sweep_some
from oblixd.sessions.ids import new_id
from oblixd.sessions.ledger import Ledger
from oblixd.sessions.tables import number_key
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

CHUNK_MESSAGES = 500
CHUNK_BYTES = 2**20
"""What one transaction writes at most (a single message may be larger): other writers get in between."""


class Draft:
    """A session in the making. Left without being published, what was written of it is swept.

    Until then its number stands in the garbage, so that a crash leaves nothing behind.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._number = 0
        self._progress = records.ProgressRecord(next_sequence=1)
        self._chunk: list[bytes] = []
        self._chunk_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.drop()

    @property
    def message_count(self) -> int:
        """How many messages were added."""
        return self._progress.message_count + len(self._chunk)

    async def add(self, payload: bytes) -> None:
        """Adds a serialised record as the next message."""
        self._chunk.append(payload)
        self._chunk_bytes += len(payload)
        if len(self._chunk) >= CHUNK_MESSAGES or self._chunk_bytes >= CHUNK_BYTES:
            await self._flush()

    async def finish(self) -> tuple[int, records.ProgressRecord]:
        """Writes what is still in memory. Returns the session's number, and how much it has."""
        if self._chunk:
            await self._flush()
        return self._number, self._progress

    async def publish(
        self,
        header: records.SessionRecord,
        update_us: int,
        also: Callable[[Transaction], object] | None = None,
    ) -> Session:
        """Makes the session seen. AlreadyExistsError SESSION_EXISTS where its id is taken.

        `also` is done before, in the same transaction.
        """

        def write(txn: Transaction) -> Session:
            if also is not None:
                also(txn)
            return self._publish(txn, header, update_us)

        return await self._ledger.store.write(write)

    async def publish_once(self, header: records.SessionRecord, update_us: int) -> tuple[Session, bool]:
        """As `publish`; but where the same was imported before, tells that session, and False."""

        def write(txn: Transaction) -> tuple[Session, bool]:
            found = self._ledger.catalog.imported(txn, header)
            return (found.session(), False) if found else (self._publish(txn, header, update_us), True)

        session, is_new = await self._ledger.store.write(write)
        if not is_new:
            self.drop()
        return session, is_new

    def _publish(self, txn: Transaction, header: records.SessionRecord, update_us: int) -> Session:
        number, progress = self._write_chunk(txn)
        progress.update_us = update_us
        entry = Entry(number, records.SessionRecord(), progress)
        entry.header.CopyFrom(header)
        self._ledger.catalog.publish(txn, entry)
        return entry.session()

    def drop(self) -> None:
        """Gives up. Harmless after a publication that nobody waited for any more."""

        # The number is looked at when the step runs: a chunk may still be under way now.
        def step(txn: Transaction) -> bool:
            return sweep_some(self._ledger, self._number, txn)

        self._ledger.store.write_idle(step)

    async def _flush(self) -> None:
        _, self._progress = await self._ledger.store.write(self._write_chunk)
        self._chunk, self._chunk_bytes = [], 0

    def _write_chunk(self, txn: Transaction) -> tuple[int, records.ProgressRecord]:
        progress = records.ProgressRecord()
        progress.CopyFrom(self._progress)
        if not self._progress.message_count:
            self._number = self._ledger.catalog.new_number(txn)
            self._ledger.tables.garbage.put(txn, number_key(self._number), b"")
        self._ledger.transcript.append(txn, self._number, progress, self._chunk)
        return self._number, progress


def copied_header(
    source: records.SessionRecord, now_us: int, title: str | None, last_sequence: int
) -> records.SessionRecord:
    """The header of a copy: a new id, the source as parent, not archived."""
    return records.SessionRecord(
        id=new_id(),
        title=source.title if title is None else title,
        create_us=now_us,
        metadata=source.metadata,
        context=source.context,
        local_only=source.local_only,
        parent_session_id=source.id,
        parent_sequence=last_sequence,
        retention=source.retention if source.HasField("retention") else None,
        routing_policy=source.routing_policy,
    )
