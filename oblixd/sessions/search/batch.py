"""What is in the store and not yet in the index."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from itertools import islice, takewhile

from oblixd.errors import DataLossError
from oblixd.sessions.search.schema import TITLE, Standing, row_id, standing
from oblixd.sessions.search.text_index import Batch, Index, IndexedSession, LostError
from oblixd.sessions.search.tokenizer import text_of, words
from oblixd.sessions.storage.db import SessionDb
from oblixd.sessions.storage.keys import SessionKey
from oblixd.sessions.storage.messages import version_in
from oblixd.sessions.storage.schema import number_key, sequence_of
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

logger = logging.getLogger(__name__)

BATCH_BYTES = 256 * 1024
"""What one batch takes in (a single message may be larger): some milliseconds of work."""
MESSAGE_BYTES = 1024
"""What a message counts besides its length."""

MESSAGES_A_REST = 2
REST_S = 50e-6
"""How many messages are read, and the pause after them."""


def numbers_after(db: SessionDb, index: Index, number: int, limit: int) -> list[int]:
    """Return the next sessions that are there, or that the index takes for it, in order of their numbers."""
    with db.store.read() as txn:
        scan = db.tables.sessions.scan(txn, b"", number_key(number + 1))
        there = {int.from_bytes(key, "big") for key, _ in islice(scan, limit)}
    return sorted(there.union(index.visible_sessions(number, limit)))[:limit]


class Collector:
    """Gathers one batch, session by session."""

    def __init__(self, db: SessionDb, index: Index) -> None:
        self._db = db
        self._index = index
        self._room = BATCH_BYTES
        self._done: set[int] = set()
        self._fresh: set[int] = set()
        """Rows that this batch adds."""
        self.batch = Batch()
        """What was gathered."""

    def gather(self, numbers: Iterable[int]) -> int:
        """Brings sessions up to date while there is room. Returns how many of them are."""
        return sum(1 for _ in takewhile(self._bring_up, numbers))

    def _bring_up(self, number: int) -> bool:
        while number not in self._done and self._room > 0:
            self._room -= MESSAGE_BYTES
            try:
                self._take(number)
            except DataLossError as error:
                logger.warning("a session is left out of the search: %s", error.message)
                self._done.add(number)
        return number in self._done

    def _take(self, number: int) -> None:
        """Take in what a session has to add, or as much of it as there is room for."""
        stored = self.batch.sessions.get(number) or self._index.progress(number)
        known = stored or IndexedSession(number)
        with self._db.store.read() as txn:
            header = self._header(txn, number)
            if header:
                progress = self._db.headers.progress(txn, SessionKey(number, str(number)))
                messages = self._unseen(txn, known, progress)
                revised = self._take_revised(txn, known, progress)
                unused = self._tombstone_count(txn, number, progress)
        if header:
            # A title that is changed in the middle of a batch is a change of its own, for a later one.
            title = known.title if number in self.batch.sessions else " ".join(words(header.title))
            self._take_title(known, title)
            self._take_messages(number, messages)
            last = messages[-1][0] + 1 if messages else known.next
            self._put(known, IndexedSession(number, last, standing(header), title, revised, unused))
            if stored:
                # The rows of deleted messages stay, unseen.
                self.batch.hidden_count += unused - stored.unused_count
        else:
            self._done.add(number)
            if stored:
                self._put(known, known._replace(standing=Standing.GONE))

    def _header(self, txn: Transaction, number: int) -> records.SessionRecord | None:
        payload = self._db.tables.sessions.get(txn, number_key(number))
        return None if payload is None else records.SessionRecord.FromString(payload)

    def _unseen(
        self, txn: Transaction, known: IndexedSession, progress: records.ProgressRecord
    ) -> list[tuple[int, bytes]]:
        """Messages that are not indexed, up to the one that is being written. Done where these are all."""
        found: list[tuple[int, bytes]] = []
        end = progress.running.answer_sequence or progress.next_sequence
        try:
            for sequence, payload in self._db.message_table.scan(
                txn, known.number, progress, known.next, end
            ):
                if self._room <= 0:
                    return found
                self._room -= MESSAGE_BYTES + len(payload)
                found.append((sequence, payload))
        except DataLossError as error:
            # It counts as one without words; those behind it are taken with the next look.
            logger.warning("a message is left out of the search: %s", error.message)
            return [*found, (sequence_of(bytes.fromhex(error.metadata["key"])), b"")]
        self._done.add(known.number)
        return found

    def _take_revised(self, txn: Transaction, known: IndexedSession, progress: records.ProgressRecord) -> int:
        """Bring the indexed messages that were edited or answered anew up to date.

        Return how many revisions are in the index then. Where some are left for a later batch the
        session is not done.
        """
        if progress.revised == known.revised_count:
            return known.revised_count
        indexed = self._index.versions(known.number) | self.batch.versions
        for sequence, newest in self._replaced_versions(txn, known.number).items():
            row = row_id(known.number, sequence)
            if sequence >= known.next or sequence == progress.running.answer_sequence:
                continue
            if indexed.get(row, 0) == newest + 1:
                continue
            if self._room <= 0 or row in self._fresh:
                # One batch takes a row's old words away before it adds the new ones: once for each row.
                self._room = 0
                self._done.discard(known.number)
                return known.revised_count
            self._replace(txn, known.number, sequence, indexed.get(row, 0))
        return progress.revised

    def _tombstone_count(self, txn: Transaction, number: int, progress: records.ProgressRecord) -> int:
        """Count the sequences without a message, except the one that waits for an answer."""
        answer = progress.running.answer_sequence
        waits = bool(answer) and self._db.message_table.get(txn, number, answer) is None
        return progress.next_sequence - 1 - progress.message_count - waits

    def _replaced_versions(self, txn: Transaction, number: int) -> dict[int, int]:
        """Return the newest replaced version by sequence."""
        keys = self._db.tables.versions.keys(txn, number_key(number))
        return {sequence_of(key): version_in(key) for key in keys}

    def _replace(self, txn: Transaction, number: int, sequence: int, indexed: int) -> None:
        """Take a version's words away and put those of the current one in their place."""
        row = row_id(number, sequence)
        old = self._db.versions.get(txn, number, sequence, indexed)
        new = self._db.message_table.get(txn, number, sequence)
        if old is None or new is None:
            raise LostError(f"it has version {indexed} of message {sequence}, which is gone")
        self._room -= MESSAGE_BYTES + old.ByteSize() + new.ByteSize()
        if gone := words(text_of(old)):
            self.batch.old_rows.append((row, " ".join(gone)))
        self._add(row, new)

    def _add(self, row: int, record: records.MessageRecord) -> None:
        if found := words(text_of(record)):
            self.batch.new_rows.append((row, " ".join(found)))
        self._fresh.add(row)
        if record.version:
            self.batch.versions[row] = record.version

    def _take_title(self, known: IndexedSession, title: str) -> None:
        if title == known.title:
            return
        row = row_id(known.number, TITLE)
        if known.title:
            self.batch.old_rows.append((row, known.title))
        if title:
            self.batch.new_rows.append((row, title))

    def _take_messages(self, number: int, messages: Iterable[tuple[int, bytes]]) -> None:
        for sequence, payload in messages:
            self._add(row_id(number, sequence), records.MessageRecord.FromString(payload))
            if sequence % MESSAGES_A_REST == 0:
                # The interpreter goes to who waits for it: the event loop, not the rest of this batch.
                time.sleep(REST_S)

    def _put(self, before: IndexedSession, known: IndexedSession) -> None:
        """Keep how far a session is indexed now. What a deleted one has there counts as hidden."""
        gone = (known.standing is Standing.GONE) - (before.standing is Standing.GONE)
        self.batch.hidden_count += gone * before.next
        self.batch.sessions[known.number] = known
