"""Messages of the contract as JSON that programs expect: numbers are numbers, and words are lower-case."""

from __future__ import annotations

from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from oblix._convert import records
from oblix._convert.decoding import name_of
from oblix._convert.values import from_struct

AnyEnum = Any
"""An enum's descriptor: protobuf has two classes for it, and only one has a public name."""


def to_dict(message: Message) -> dict[str, Any]:
    """Return every field by its name; None if it is not set. Times are ISO 8601, durations are seconds."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.is_repeated:
            found[field.name] = [_value(each, field.enum_type) for each in value]
        else:
            is_set = message.HasField(field.name) if field.has_presence else True
            found[field.name] = _value(value, field.enum_type) if is_set else None
    return found


def _value(value: Any, enum: AnyEnum | None) -> Any:
    match value:
        case Timestamp():
            return records.to_text(value)
        case Duration():
            return records.seconds_of(value)
        case Struct():
            return from_struct(value)
        case Message():
            return to_dict(value)
    return value if enum is None else name_of(enum, value)
