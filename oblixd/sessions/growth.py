"""Conversations that are imported again: what their source says now, added to what it said before."""

from __future__ import annotations

from itertools import islice

from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import Session

from oblixd.errors import NotFoundError
from oblixd.sessions.builder import CHUNK_MESSAGES, SessionBuilder
from oblixd.sessions.deletion import delete_now
from oblixd.sessions.storage.db import SessionDb
from oblixd.sessions.storage.headers import ChainHash, Entry
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records


class Growth:
    """One import of a source, beside the session that an earlier import made of it.

    The earlier one is known by a hash over its messages: where the first messages that
    come in have the same, the rest is new.
    """

    def __init__(self, db: SessionDb, source_id: str) -> None:
        self._db = db
        self._chain = ChainHash()
        self._digests: dict[int, bytes] = {}
        self._last_digest = b""
        self._before: Entry | None = None
        if source_id:
            with db.store.read() as txn:
                self._before = db.headers.find_latest_import(txn, source_id)
        self._note()

    def add(self, message: messages_pb2.Message) -> None:
        """Take the next message that came in."""
        self._last_digest = self._chain.digest()
        self._chain.add(message)
        self._note()

    def sign(self, header: records.SessionRecord) -> None:
        """Write into a header what its source told."""
        header.source_chain, header.source_sequence = self._chain.digest(), self._chain.count
        header.source_chain_before = self._last_digest

    @property
    def former_entry(self) -> Entry | None:
        """The session that is here already, as it was when the import began."""
        return self._before

    @property
    def is_changed(self) -> bool:
        """Whether the source now tells other messages than those that were imported."""
        return not (self._is_continuation or self._went_on)

    @property
    def _is_continuation(self) -> bool:
        return self._before is None or self._digests.get(self._start) == self._before.header.source_chain

    @property
    def _went_on(self) -> bool:
        """Whether only the last message that was imported is another one now: it was in the making."""
        if self._is_continuation or self._before is None or self._chain.count < self._start:
            return False
        return self._digests.get(self._start - 1) == self._before.header.source_chain_before

    @property
    def new_count(self) -> int:
        """How many messages follow those that were imported, or replace the last of them."""
        return self._chain.count - self._start + self._went_on

    def retire(self, txn: Transaction) -> bool:
        """Delete the earlier session, to be brought back, unless something was added to it here.

        One step of the caller's transaction. Tells whether it was deleted.
        """
        if self._before is None or self._is_continued(txn, self._start):
            return False
        delete_now(self._db, self._before.ref, True, txn)
        return True

    async def pour(
        self, draft: SessionBuilder, header: records.SessionRecord, update_us: int
    ) -> Session | None:
        """Add the new messages to the earlier session, bit by bit. None where it is not as it was.

        `header` is what the source tells now. After a crash in between, the next import goes on.
        """
        number, whole = await draft.finish()
        session = None
        starts = range(self._start, self._chain.count, CHUNK_MESSAGES)
        for start in starts or [self._start]:
            end = min(start + CHUNK_MESSAGES, self._chain.count)
            source = records.SessionRecord()
            source.CopyFrom(header)
            source.source_sequence = end
            source.source_chain = self._chain.digest() if end == self._chain.count else self._digests[end]

            def write(
                txn: Transaction, start: int = start, end: int = end, source: records.SessionRecord = source
            ) -> Session | None:
                if self._before is None or self._is_continued(txn, start):
                    return None
                entry = self._db.headers.entry(txn, self._before.ref)
                if self._went_on and start == self._start:
                    self._replace_last(txn, entry, number)
                scan = self._db.message_table.scan(txn, number, whole, start + 1)
                payloads = [payload for _, payload in islice(scan, end - start)]
                self._db.message_table.append(txn, entry.number, entry.progress, payloads)
                self._db.headers.grown(txn, entry, source, max(update_us, entry.progress.update_us))
                return entry.session()

            session = await self._db.store.write(write)
            if session is None:
                return None
        draft.drop()
        return session

    def _replace_last(self, txn: Transaction, entry: Entry, number: int) -> None:
        """Put what the last message says now in its place; what it said before is an older version."""
        message_table, sequence = self._db.message_table, self._start
        old = message_table.get(txn, entry.number, sequence)
        new = message_table.get(txn, number, sequence)
        if old is None or new is None:  # it was deleted here
            return
        self._db.versions.put(txn, entry.number, sequence, old)
        new.id, new.version = old.id, old.version + 1
        message_table.replace(txn, entry.number, entry.progress, sequence, new)
        entry.progress.revised += 1

    @property
    def _start(self) -> int:
        return self._before.header.source_sequence if self._before is not None else 0

    def _note(self) -> None:
        """Keep the hash where the earlier messages end, and at each bit after that."""
        beyond = self._chain.count - self._start
        if beyond == -1 or (beyond >= 0 and beyond % CHUNK_MESSAGES == 0):
            self._digests[self._chain.count] = self._chain.digest()

    def _is_continued(self, txn: Transaction, end: int) -> bool:
        """Return whether the earlier session has messages that are not its source's, or is gone."""
        if self._before is None:
            return True
        try:
            progress = self._db.headers.progress(txn, self._before.ref)
        except NotFoundError:
            return True
        return progress.next_sequence != end + 1 or progress.HasField("running")


def deleted_sources(db: SessionDb) -> frozenset[str]:
    """Return the sources of the sessions that were deleted and can be brought back."""
    with db.store.read() as txn:
        kept = [
            records.DeletedRecord.FromString(payload).header.source_id
            for _, payload in db.tables.deleted.scan(txn, b"")
        ]
    return frozenset(filter(None, kept))
