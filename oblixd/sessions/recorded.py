"""Finding a turn again by its request's id."""

from __future__ import annotations

from oblix.v1.messages_pb2 import Message, MessageStatus

from oblixd.sessions.catalog import Entry
from oblixd.sessions.ids import pack
from oblixd.sessions.ledger import Ledger
from oblixd.sessions.records import message_from
from oblixd.sessions.requests import RecordedTurn, outcome_of
from oblixd.sessions.tables import number_key
from oblixd.sessions.validation import check_request_id
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records


def recorded(ledger: Ledger, request_id: str) -> RecordedTurn | None:
    """The turn that a request began. See `Sessions.recorded`."""
    check_request_id(request_id)
    with ledger.store.read() as txn:
        record = ledger.requests.get(txn, request_id)
        if record is None or ledger.tables.progress.get(txn, number_key(record.number)) is None:
            return None
        entry = ledger.catalog.numbered(txn, record.number)
    with ledger.read(entry.ref) as txn:
        return _turn(ledger, txn, entry, record, pack(request_id))


def _turn(
    ledger: Ledger, txn: Transaction, entry: Entry, record: records.RequestRecord, request: bytes
) -> RecordedTurn:
    question = (
        _message(ledger, txn, entry, sequence)
        for sequence in range(record.question_sequence, record.answer_sequence)
    )
    return RecordedTurn(
        session_id=entry.header.id,
        fingerprint=record.fingerprint,
        status=MessageStatus.ValueType(record.status),
        question=[message for message in question if message is not None],
        answer=_answer(ledger, txn, entry, record.answer_sequence, request),
        outcome=outcome_of(record),
    )


def _answer(ledger: Ledger, txn: Transaction, entry: Entry, sequence: int, request: bytes) -> Message | None:
    """What the request's model wrote: the oldest version of the answer that the request recorded."""
    for record in ledger.versions.ascending(txn, entry.number, sequence):
        if record.request_id == request:
            return message_from(record, sequence)
    message = _message(ledger, txn, entry, sequence)
    return message if message is not None and pack(message.request_id) == request else None


def _message(ledger: Ledger, txn: Transaction, entry: Entry, sequence: int) -> Message | None:
    payload = ledger.transcript.payload(txn, entry.number, entry.progress, sequence)
    return None if payload is None else ledger.transcript.message(txn, entry.number, sequence, payload)
