"""A session's messages inside a transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from oblix.v1 import messages_pb2 as pb

from oblixd.sessions.records import joined, message_from
from oblixd.sessions.tables import Tables, message_key, number_key, sequence_of
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

_PLACE_BYTES = 4


class Transcript:
    """Reads and writes messages and the pieces of a running answer, by the session's number."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def append(
        self, txn: Transaction, number: int, progress: records.ProgressRecord, payloads: Sequence[bytes]
    ) -> int:
        """Writes serialised records at the end, and counts them. Returns the first one's sequence."""
        first = progress.next_sequence
        items = [(message_key(number, first + place), payload) for place, payload in enumerate(payloads)]
        self._tables.messages.put_all(txn, items)
        progress.next_sequence += len(payloads)
        progress.message_count += len(payloads)
        return first

    def put(self, txn: Transaction, number: int, sequence: int, record: records.MessageRecord) -> None:
        """Writes one record at its place."""
        self._tables.messages.put(txn, message_key(number, sequence), record.SerializeToString())

    def get(self, txn: Transaction, number: int, sequence: int) -> records.MessageRecord | None:
        """The record at a place as it stands on disk, or None."""
        payload = self._tables.messages.get(txn, message_key(number, sequence))
        return None if payload is None else records.MessageRecord.FromString(payload)

    def scan(
        self, txn: Transaction, number: int, sequence: int, *, backwards: bool = False
    ) -> Iterator[tuple[int, bytes]]:
        """Sequences and serialised records: from `sequence` on, or backwards from before it."""
        prefix, key = number_key(number), message_key(number, sequence)
        table = self._tables.messages
        scan = table.descending(txn, prefix, key) if backwards else table.ascending(txn, prefix, key)
        return ((sequence_of(found), payload) for found, payload in scan)

    def whole(self, txn: Transaction, number: int, sequence: int, payload: bytes) -> records.MessageRecord:
        """A record with its parts, as far as they have been checkpointed."""
        record = records.MessageRecord.FromString(payload)
        if record.status == records.STATUS_RECORD_STREAMING:
            record.parts.extend(joined(self.pieces(txn, number, sequence)))
        return record

    def settled(self, txn: Transaction, number: int, sequence: int) -> records.MessageRecord | None:
        """A message as it stands, for a session in which nobody writes on: a running answer is cut off."""
        payload = self._tables.messages.get(txn, message_key(number, sequence))
        if payload is None:
            return None
        record = self.whole(txn, number, sequence, payload)
        if record.status == records.STATUS_RECORD_STREAMING:
            record.status = records.STATUS_RECORD_INTERRUPTED
        return record

    def message(self, txn: Transaction, number: int, sequence: int, payload: bytes) -> pb.Message:
        """The message of a serialised record, as far as it has been checkpointed."""
        return message_from(self.whole(txn, number, sequence, payload), sequence)

    def put_piece(
        self, txn: Transaction, number: int, sequence: int, place: int, piece: records.PieceRecord
    ) -> None:
        """Writes one checkpoint of an answer. Places are counted by the caller, from 0."""
        key = message_key(number, sequence) + place.to_bytes(_PLACE_BYTES, "big")
        self._tables.pieces.put(txn, key, piece.SerializeToString())

    def delete(self, txn: Transaction, number: int, sequence: int) -> bool:
        """Removes an answer and its checkpoints. False where it had no record."""
        key = message_key(number, sequence)
        self._tables.pieces.delete_all(txn, key)
        return self._tables.messages.delete(txn, key)

    def pieces(self, txn: Transaction, number: int, sequence: int) -> Iterator[records.PartRecord]:
        """The checkpointed parts of an answer, in order."""
        for _, payload in self._tables.pieces.ascending(txn, message_key(number, sequence)):
            yield from records.PieceRecord.FromString(payload).parts
