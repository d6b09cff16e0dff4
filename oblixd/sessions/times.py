"""Instants and durations in microseconds, as they are kept on disk."""

from __future__ import annotations

import time

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

_MILLION = 1_000_000


def now_us() -> int:
    """The wall clock, in microseconds since 1970."""
    return time.time_ns() // 1000


def timestamp(us: int) -> Timestamp:
    """Microseconds since 1970 as a Timestamp."""
    return Timestamp(seconds=us // _MILLION, nanos=us % _MILLION * 1000)


def timestamp_us(time_: Timestamp) -> int:
    """A Timestamp in microseconds; finer parts are cut off."""
    return time_.seconds * _MILLION + time_.nanos // 1000


def duration(us: int) -> Duration:
    """Microseconds as a Duration, both parts of one sign."""
    value = Duration()
    value.FromMicroseconds(us)
    return value


def duration_us(value: Duration) -> int:
    """A Duration in microseconds."""
    return value.seconds * _MILLION + value.nanos // 1000
