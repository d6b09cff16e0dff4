"""Messages as they come in, made into records."""

from __future__ import annotations

from collections.abc import Sequence

from oblix.v1 import messages_pb2 as pb

from oblixd.sessions.ids import new_id
from oblixd.sessions.records import message_from, message_record
from oblixd.sessions.times import timestamp
from oblixd.store.v1 import records_pb2 as records


def taken(messages: Sequence[pb.Message], now_us: int, request_id: str = "") -> list[records.MessageRecord]:
    """The records of new messages: role, parts, create_time, status, model and usage are taken."""
    return [message_record(_new_message(message, now_us, request_id)) for message in messages]


def _new_message(message: pb.Message, now_us: int, request_id: str) -> pb.Message:
    return pb.Message(
        id=new_id(),
        role=message.role,
        parts=message.parts,
        create_time=message.create_time if message.HasField("create_time") else timestamp(now_us),
        status=message.status or pb.MESSAGE_STATUS_COMPLETE,
        model=message.model,
        usage=message.usage if message.HasField("usage") else None,
        request_id=request_id,
    )


def recorded_messages(written: Sequence[records.MessageRecord], first: int) -> list[pb.Message]:
    """The messages as they were recorded, the first at sequence `first`."""
    return [message_from(record, first + place) for place, record in enumerate(written)]
