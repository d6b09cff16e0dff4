"""Instants as other programs write them: seconds or finer since 1970, ISO 8601, objects that hold one."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from oblix._convert import records
from oblix.errors import InvalidArgumentError
from oblix.formats.conversations import Conversation
from oblix.v1 import messages_pb2, sessions_pb2

_LARGEST_SECONDS = 1e11
"""Some programs count milliseconds, microseconds or nanoseconds; as seconds these are past the year 5000."""
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_FINER_THAN_MICROSECONDS = re.compile(r"(\.\d{6})\d+")


def moment(value: Any, zone: tzinfo = UTC) -> Timestamp | None:
    """Return the instant that a value says, or None. `zone` is that of text without an offset."""
    if isinstance(value, dict):
        value = value.get("$date", value.get("seconds"))
    if isinstance(value, dict):
        value = value.get("$numberLong")
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    try:
        if isinstance(value, str):
            return records.from_text(_with_offset(value.strip(), zone), "time")
        return None if value is None else records.from_seconds(_seconds(value), "time")
    except InvalidArgumentError:
        return None


def set_time(
    into: sessions_pb2.Session | messages_pb2.Message,
    name: str,
    value: Any,
    conversation: Conversation,
    zone: tzinfo = UTC,
) -> None:
    """Set a time where there is one. One that can't be read is left out, with a note."""
    found = moment(value, zone)
    if found is not None:
        getattr(into, name).CopyFrom(found)
    elif value not in (None, "", 0):
        conversation.note("times that can't be read left out")


def _with_offset(text: str, zone: tzinfo) -> str:
    try:
        when = datetime.fromisoformat(_FINER_THAN_MICROSECONDS.sub(r"\1", text))
    except ValueError:
        return text
    return (when if when.tzinfo else when.replace(tzinfo=zone)).isoformat()


def _seconds(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    for _ in range(3):
        if abs(value) > _LARGEST_SECONDS:
            value /= 1000
    return value
