"""Times as the contract has them, of seconds as the daemon has them.

The methods of the messages themselves (`FromMicroseconds`) are written in Python, and check and split each
number in several calls; a decision holds twenty ages.
"""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

_MILLION = 1_000_000


def duration(seconds: float) -> Duration:
    """Return seconds, to the microsecond. A negative one has both parts negative."""
    us = round(seconds * 1e6)
    if us < 0:
        return Duration(seconds=-(-us // _MILLION), nanos=-(-us % _MILLION) * 1000)
    return Duration(seconds=us // _MILLION, nanos=us % _MILLION * 1000)


def timestamp(seconds: float) -> Timestamp:
    """Return seconds since the Unix epoch, to the microsecond."""
    us = round(seconds * 1e6)
    return Timestamp(seconds=us // _MILLION, nanos=us % _MILLION * 1000)


def seconds_of(duration: Duration) -> float:
    """Return a duration in seconds."""
    return duration.seconds + duration.nanos / 1e9
