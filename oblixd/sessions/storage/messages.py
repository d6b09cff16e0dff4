"""A session's messages inside a transaction.

Sequence numbers have no gaps on disk. Each number from `ProgressRecord.first_sequence` on
and below `next_sequence` has a record in the table `messages`: a message, or a tombstone
where a message was deleted or a reserved number was not used. A tombstone is an empty
payload. Tombstones before the first message are dropped, and `first_sequence` moves. The one
exception is the number that is reserved for the running turn's answer: it may have no
record until the first checkpoint. Any other number without a record is damage, and so
is a record at or above `next_sequence`. That is how a read of a range knows how much
there must be, and never serves a shorter conversation.

`progress.message_count` counts the messages, not the tombstones.

To delete messages, call `MessageTable.remove` in a write transaction, then
`Headers.touch`:

    def write(txn):
        progress = db.headers.progress(txn, ref)
        removed = db.message_table.remove(txn, ref.number, progress, sequences)
        db.headers.touch(txn, ref, progress, now_us)

Messages as they come in, made into records.

Versions of messages that were replaced: by an edit, or by an answer anew.

A message's record says which version it is; those before it stand here, each once, under
the number that it had. They belong to their session and go with their message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from oblix.v1 import messages_pb2

from oblixd.errors import DataLossError
from oblixd.sessions.storage.keys import new_id, pack
from oblixd.sessions.storage.records import join_parts, message_from, message_record
from oblixd.sessions.storage.schema import NUMBER_BYTES, Tables, message_key, number_key, sequence_of
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

_INDEX_BYTES = 4
DROP_BATCH = 2_000
"""Tombstones that one step drops, so that no writer waits long for it."""
TOMBSTONE = b""
"""The payload of a number without a message. No MessageRecord is empty: each has an id."""
_NOTHING = (b"", b"")


def first_of(progress: records.ProgressRecord) -> int:
    """Return the first number that has a record."""
    return max(progress.first_sequence, 1)


class MessageTable:
    """Reads and writes messages and the pieces of a running answer, by the session's number."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def append(
        self, txn: Transaction, number: int, progress: records.ProgressRecord, payloads: Sequence[bytes]
    ) -> int:
        """Write serialised records at the end, and count them. Return the first one's sequence."""
        first = progress.next_sequence
        items = [(message_key(number, first + index), payload) for index, payload in enumerate(payloads)]
        # If something is there, `progress` is damaged: an acknowledged message is not overwritten.
        self._tables.messages.add_all(txn, items)
        progress.next_sequence += len(payloads)
        progress.message_count += len(payloads)
        return first

    def put(self, txn: Transaction, number: int, sequence: int, record: records.MessageRecord) -> None:
        """Write the record of the running turn's answer."""
        self._tables.messages.put(txn, message_key(number, sequence), record.SerializeToString())

    def replace(
        self,
        txn: Transaction,
        number: int,
        progress: records.ProgressRecord,
        sequence: int,
        record: records.MessageRecord,
    ) -> None:
        """Write a record over the message of its sequence. The caller writes `progress`."""
        self.put(txn, number, sequence, record)
        progress.rewritten += 1

    def put_tombstone(self, txn: Transaction, number: int, sequence: int) -> None:
        """Note that a number is used up and has no message. Overwrites what is there; counts nothing."""
        self._tables.messages.put(txn, message_key(number, sequence), TOMBSTONE)

    def remove(
        self, txn: Transaction, number: int, progress: records.ProgressRecord, sequences: Iterable[int]
    ) -> int:
        """Delete messages: each leaves a tombstone. Return how many there were.

        Counts them out of `progress`, which the caller writes (see the module's docstring). A
        number that has a tombstone already is passed over. A damaged or missing message can be
        removed, too: that mends its session. The caller makes sure that every number is below
        `progress.next_sequence` and that none is the running answer's.
        """
        removed = 0
        for sequence in sequences:
            if sequence >= first_of(progress) and not self._is_tombstone(txn, number, sequence):
                self.put_tombstone(txn, number, sequence)
                removed += 1
        progress.message_count -= removed
        progress.rewritten += removed > 0
        self.drop_leading(txn, number, progress)
        return removed

    def drop_leading(self, txn: Transaction, number: int, progress: records.ProgressRecord) -> bool:
        """Drop tombstones before the first message, up to 2,000: reads of a session that was emptied
        again and again must not grow longer. True where there may be more. The caller writes `progress`.
        """
        first = first_of(progress)
        until = min(first + DROP_BATCH, progress.next_sequence)
        while first < until and self._is_tombstone(txn, number, first):
            self._tables.messages.delete(txn, message_key(number, first))
            first += 1
        dropped, progress.first_sequence = first - first_of(progress), first
        return dropped == DROP_BATCH

    def _is_tombstone(self, txn: Transaction, number: int, sequence: int) -> bool:
        with suppress(DataLossError):
            return self._tables.messages.get(txn, message_key(number, sequence)) == TOMBSTONE
        return False

    def get(self, txn: Transaction, number: int, sequence: int) -> records.MessageRecord | None:
        """Return the record of a sequence as it stands on disk; None for a tombstone, or for no record.

        Use `payload` where no record is damage.
        """
        payload = self._tables.messages.get(txn, message_key(number, sequence))
        return records.MessageRecord.FromString(payload) if payload else None

    def payload(
        self, txn: Transaction, number: int, progress: records.ProgressRecord, sequence: int
    ) -> bytes | None:
        """Return the serialised record of a sequence below `next_sequence`.

        None for a tombstone, before the first record, and for an answer that has not begun.
        DataLossError where the record is damaged or missing.
        """
        payload = self._tables.messages.get(txn, message_key(number, sequence))
        if payload is None and sequence >= first_of(progress):
            self._check_absent(number, progress, sequence, sequence + 1)
        return payload or None

    def scan(
        self,
        txn: Transaction,
        number: int,
        progress: records.ProgressRecord,
        start: int = 1,
        end: int | None = None,
    ) -> Iterator[tuple[int, bytes]]:
        """Sequences and serialised records of the messages from `start` (inclusive) to `end` (exclusive).

        `progress` is read in the same transaction. `end` None is its `next_sequence`. Tombstones are
        passed over. DataLossError where a record is damaged or missing, as soon as it is reached.
        """
        start = max(start, first_of(progress))
        end = progress.next_sequence if end is None else min(end, progress.next_sequence)
        prefix, table = number_key(number), self._tables.messages
        found = table.scan(txn, prefix, message_key(number, start))
        expected = start
        while expected < end:
            key, payload = next(found, _NOTHING)
            sequence = sequence_of(key) if key else end
            if sequence != expected:
                self._check_absent(number, progress, expected, min(sequence, end))
            expected = sequence + 1
            if payload and sequence < end:
                yield sequence, payload
        if end == progress.next_sequence:
            self._check_end(txn, number, end)

    def scan_back(
        self, txn: Transaction, number: int, progress: records.ProgressRecord, before: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Yield the messages before a sequence (exclusive; None is the end), newest first, else as `scan`."""
        end = progress.next_sequence if before is None else min(before, progress.next_sequence)
        if end == progress.next_sequence:
            self._check_end(txn, number, end)
        prefix, table = number_key(number), self._tables.messages
        found, first = table.scan_back(txn, prefix, message_key(number, end)), first_of(progress)
        while end > first:
            key, payload = next(found, _NOTHING)
            sequence = sequence_of(key) if key else 0
            if sequence + 1 != end:
                self._check_absent(number, progress, max(sequence + 1, first), end)
            end = sequence
            if payload and sequence >= first:
                yield sequence, payload

    def _check_absent(self, number: int, progress: records.ProgressRecord, start: int, end: int) -> None:
        """DataLossError where a number without a record is not the one that waits for an answer."""
        reserved = progress.running.answer_sequence
        for sequence in range(start, end):
            if sequence != reserved:
                raise self._tables.messages.missing_error(message_key(number, sequence))

    def _check_end(self, txn: Transaction, number: int, end: int) -> None:
        """DataLossError where something stands behind the last number that was given out."""
        if stray := next(self._tables.messages.keys(txn, number_key(number), message_key(number, end)), None):
            raise self._tables.messages.unexpected_error(stray)

    def whole_record(
        self, txn: Transaction, number: int, sequence: int, payload: bytes
    ) -> records.MessageRecord:
        """Return a record with its parts, as far as they have been checkpointed."""
        record = records.MessageRecord.FromString(payload)
        if record.status == records.STATUS_RECORD_STREAMING:
            record.parts.extend(join_parts(self.pieces(txn, number, sequence)))
        return record

    def interrupted_message(
        self, txn: Transaction, number: int, sequence: int
    ) -> records.MessageRecord | None:
        """Return a message for a session in which nobody writes on: a running answer is cut off."""
        payload = self._tables.messages.get(txn, message_key(number, sequence))
        if not payload:
            return None
        record = self.whole_record(txn, number, sequence, payload)
        if record.status == records.STATUS_RECORD_STREAMING:
            record.status = records.STATUS_RECORD_INTERRUPTED
        return record

    def message(self, txn: Transaction, number: int, sequence: int, payload: bytes) -> messages_pb2.Message:
        """Return the message of a serialised record, as far as it has been checkpointed."""
        return message_from(self.whole_record(txn, number, sequence, payload), sequence)

    def put_piece(
        self, txn: Transaction, number: int, sequence: int, index: int, piece: records.PieceRecord
    ) -> None:
        """Write one checkpoint of an answer. Places are counted by the caller, from 0."""
        key = message_key(number, sequence) + index.to_bytes(_INDEX_BYTES, "big")
        self._tables.pieces.put(txn, key, piece.SerializeToString())

    def delete(self, txn: Transaction, number: int, sequence: int) -> bool:
        """Remove an answer and its checkpoints, without a tombstone: its number stays reserved.

        False where it had no record.
        """
        key = message_key(number, sequence)
        self._tables.pieces.delete_all(txn, key)
        return self._tables.messages.delete(txn, key)

    def pieces(self, txn: Transaction, number: int, sequence: int) -> Iterator[records.PartRecord]:
        """Yield the checkpointed parts of an answer that has begun, in order.

        DataLossError where a checkpoint is damaged, or missing before another one. The first one was written
        together with the answer's record. That the last one is missing can't be seen.
        """
        prefix, index = message_key(number, sequence), 0
        for key, payload in self._tables.pieces.scan(txn, prefix):
            if key != (expected := prefix + index.to_bytes(_INDEX_BYTES, "big")):
                raise self._tables.pieces.missing_error(expected)
            yield from records.PieceRecord.FromString(payload).parts
            index += 1
        if not index:
            raise self._tables.pieces.missing_error(prefix + index.to_bytes(_INDEX_BYTES, "big"))


def new_records(
    messages: Sequence[messages_pb2.Message], now_us: int, request_id: str = ""
) -> list[records.MessageRecord]:
    """Return the records of new messages.

    role, parts, create_time, status, model, usage, client_data and provider_state are taken.
    """
    return [_new_record(message, now_us, request_id) for message in messages]


def _new_record(message: messages_pb2.Message, now_us: int, request_id: str) -> records.MessageRecord:
    record = message_record(message)
    record.id, record.request_id, record.source_session_id = pack(new_id()), pack(request_id), b""
    record.status = record.status or records.STATUS_RECORD_COMPLETE
    if not message.HasField("create_time"):
        record.create_us = now_us
    record.ClearField("timings")
    record.ClearField("routing")
    record.ClearField("exclusion")
    record.version = 0
    return record


def recorded_messages(written: Sequence[records.MessageRecord], first: int) -> list[messages_pb2.Message]:
    """Return the messages as they were recorded, the first at sequence `first`."""
    return [message_from(record, first + index) for index, record in enumerate(written)]


class Versions:
    """Reads and writes versions; every method is one step inside the caller's transaction."""

    def __init__(self, tables: Tables) -> None:
        self._table = tables.versions

    def put(self, txn: Transaction, number: int, sequence: int, record: records.MessageRecord) -> None:
        """Keep a record that is about to be replaced, under its own version."""
        self._table.put(txn, _key(number, sequence, record.version), record.SerializeToString())

    def get(self, txn: Transaction, number: int, sequence: int, version: int) -> records.MessageRecord | None:
        """Return a version that was replaced, or None."""
        payload = self._table.get(txn, _key(number, sequence, version))
        return None if payload is None else records.MessageRecord.FromString(payload)

    def take(self, txn: Transaction, number: int, sequence: int, version: int) -> records.MessageRecord:
        """Remove a version and return it: it is to be current again. It must be there."""
        key = _key(number, sequence, version)
        record = self.get(txn, number, sequence, version)
        if record is None:
            raise self._table.missing_error(key)
        self._table.delete(txn, key)
        return record

    def ascending(self, txn: Transaction, number: int, sequence: int) -> Iterator[records.MessageRecord]:
        """Yield the versions of a message, oldest first."""
        for _, payload in self._table.scan(txn, message_key(number, sequence)):
            yield records.MessageRecord.FromString(payload)

    def descending(
        self, txn: Transaction, number: int, sequence: int, before: int
    ) -> Iterator[records.MessageRecord]:
        """Yield the versions of a message before one, newest first."""
        prefix = message_key(number, sequence)
        for _, payload in self._table.scan_back(txn, prefix, prefix + number_key(before)):
            yield records.MessageRecord.FromString(payload)

    def delete_all(self, txn: Transaction, number: int, sequence: int) -> None:
        """Remove every version of a message."""
        self._table.delete_all(txn, message_key(number, sequence))


def version_in(key: bytes) -> int:
    """Return the version in a key of the table."""
    return int.from_bytes(key[2 * NUMBER_BYTES :], "big")


def _key(number: int, sequence: int, version: int) -> bytes:
    return message_key(number, sequence) + number_key(version)
