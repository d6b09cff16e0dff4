"""Messages as they come in, made into records."""

from __future__ import annotations

from collections.abc import Sequence

from oblix.v1 import messages_pb2 as pb

from oblixd.sessions.ids import new_id, pack
from oblixd.sessions.records import message_from, message_record
from oblixd.store.v1 import records_pb2 as records


def taken(messages: Sequence[pb.Message], now_us: int, request_id: str = "") -> list[records.MessageRecord]:
    """The records of new messages.

    role, parts, create_time, status, model, usage, client_data and provider_state are taken.
    """
    return [_taken(message, now_us, request_id) for message in messages]


def _taken(message: pb.Message, now_us: int, request_id: str) -> records.MessageRecord:
    record = message_record(message)
    record.id, record.request_id, record.source_session_id = pack(new_id()), pack(request_id), b""
    record.status = record.status or records.STATUS_RECORD_COMPLETE
    if not message.HasField("create_time"):
        record.create_us = now_us
    record.ClearField("timings")
    record.ClearField("decision")
    record.ClearField("exclusion")
    record.version = 0
    return record


def recorded_messages(written: Sequence[records.MessageRecord], first: int) -> list[pb.Message]:
    """The messages as they were recorded, the first at sequence `first`."""
    return [message_from(record, first + place) for place, record in enumerate(written)]
