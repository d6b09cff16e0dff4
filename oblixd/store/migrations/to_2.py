"""Schema 2: the requests of all turns can be found by their ids.

A turn's messages carry its request's id, and so do their copies: what a fork, a merge or an
import brought along is told apart by the header and by the message itself, and where two
sessions still have the same id, the older session is the one that it began in.
"""

from __future__ import annotations

import logging
from itertools import islice

from oblixd.errors import DataLossError
from oblixd.store.migrations.base import Tables
from oblixd.store.table import Transaction
from oblixd.store.v1 import records_pb2 as records

logger = logging.getLogger(__name__)

AT_ONCE = 500
"""Messages that one step reads, one at a time."""
_NUMBER_BYTES = 8


def step(txn: Transaction, tables: Tables, progress: bytes) -> bytes | None:
    """Read some messages, from after the one that `progress` names, and notes their requests."""
    scan = tables("messages").keys(txn, b"", progress + b"\0" if progress else b"")
    keys = list(islice(scan, AT_ONCE))
    for table in ("requests", "turns", "usage", "usage_requests"):
        tables(table)
    indexer = _Indexer(txn, tables)
    for key in keys:
        try:
            indexer.note(key)
        except DataLossError as error:
            # What is damaged is named when it is read; it keeps nothing else from being served.
            logger.warning("a turn can't be found by its request: %s", error.message)
    return keys[-1] if len(keys) == AT_ONCE else None


class _Indexer:
    """Puts messages into the index, in order."""

    def __init__(self, txn: Transaction, tables: Tables) -> None:
        self._txn = txn
        self._tables = tables
        self._headers: dict[bytes, records.SessionRecord | None] = {}

    def note(self, key: bytes) -> None:
        """Count a message to its request, where it is no copy."""
        number, sequence = key[:_NUMBER_BYTES], int.from_bytes(key[_NUMBER_BYTES:], "big")
        header = self._header(number)
        if header is None or header.source_id or sequence <= header.parent_sequence:
            return
        message = records.MessageRecord.FromString(self._tables("messages").get(self._txn, key) or b"")
        if message.request_id and not message.source_session_id:
            self._add(number, sequence, message)

    def _add(self, number: bytes, sequence: int, message: records.MessageRecord) -> None:
        requests = self._tables("requests")
        payload = requests.get(self._txn, message.request_id)
        request = records.RequestRecord.FromString(payload or b"")
        if payload is None:
            request.number = int.from_bytes(number, "big")
            request.question_sequence = request.answer_sequence = sequence
        elif request.number != int.from_bytes(number, "big"):
            return
        if message.role == records.ROLE_RECORD_ASSISTANT:
            # The last one is the answer: a question does not end with a message of the assistant.
            request.answer_sequence, request.status = sequence, message.status
        else:
            # Until its answer is seen nothing of one came.
            request.answer_sequence, request.status = sequence + 1, records.STATUS_RECORD_CANCELLED
        requests.put(self._txn, message.request_id, request.SerializeToString())
        self._tables("turns").put(self._txn, number + message.request_id, b"")

    def _header(self, number: bytes) -> records.SessionRecord | None:
        """Read the header of a session, also of a deleted one. None: nothing valid is under the number."""
        if number not in self._headers:
            self._headers[number] = self._read_header(number)
        return self._headers[number]

    def _read_header(self, number: bytes) -> records.SessionRecord | None:
        if payload := self._tables("sessions").get(self._txn, number):
            return records.SessionRecord.FromString(payload)
        if payload := self._tables("deleted").get(self._txn, number):
            return records.DeletedRecord.FromString(payload).header
        return None
