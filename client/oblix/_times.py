"""Instants: ISO 8601 text in Python and in files, Timestamp on the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from oblix._checks import invalid, shown, text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_text(time: Timestamp) -> str:
    """Write an instant with six fraction digits and Z: `2026-01-31T12:00:00.000000Z`."""
    moment = _EPOCH + timedelta(seconds=time.seconds, microseconds=time.nanos // 1000)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def from_text(value: object, field: str) -> Timestamp:
    """Read ISO 8601. Without an offset it is taken as UTC. Raises InvalidArgumentError."""
    try:
        moment = datetime.fromisoformat(text(value, field))
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid(field, "an ISO 8601 time", shown(value)) from None
    return _timestamp(moment - _EPOCH)


def from_moment(value: object, field: str) -> Timestamp:
    """Read a datetime, or ISO 8601 text; UTC without an offset. Raises InvalidArgumentError."""
    return from_text(value.isoformat() if isinstance(value, datetime) else value, field)


def from_seconds(value: object, field: str) -> Timestamp:
    """Read seconds since 1970, to the microsecond. Raises InvalidArgumentError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(field, "seconds since 1970", shown(value))
    try:
        moment = _EPOCH + timedelta(seconds=value)
    except (ValueError, OverflowError):
        raise invalid(field, "seconds since 1970, of the years 1 to 9999", shown(value)) from None
    return _timestamp(moment - _EPOCH)


def _timestamp(since_epoch: timedelta) -> Timestamp:
    seconds = since_epoch.days * 86_400 + since_epoch.seconds
    return Timestamp(seconds=seconds, nanos=since_epoch.microseconds * 1000)


def seconds_of(duration: Duration) -> float:
    """A duration in seconds."""
    return duration.seconds + duration.nanos / 1e9
