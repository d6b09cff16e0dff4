"""Ids: how they are made, and how they are kept in few bytes.

How the packages of a conversation name a session to each other.

Instants and durations in microseconds, as they are kept on disk.
"""

from __future__ import annotations

import os
import re
import time
from typing import NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

_UUID_BYTES = 16
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_id() -> str:
    """Return a UUIDv7: 48 bits of milliseconds, then 74 random bits between the version and variant bits."""
    value = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return _text(value.to_bytes(_UUID_BYTES, "big"))


def pack(text: str) -> bytes:
    """`u` and 16 bytes for a UUID in its usual spelling, `t` and the text for others, nothing for nothing."""
    if not text:
        return b""
    if _UUID.fullmatch(text):
        return b"u" + bytes.fromhex(text.replace("-", ""))
    return b"t" + text.encode()


def unpack(packed: bytes) -> str:
    """Return the id that was packed."""
    if not packed:
        return ""
    return _text(packed[1:]) if packed.startswith(b"u") else packed[1:].decode()


def _text(uuid: bytes) -> str:
    digits = uuid.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class UniqueIds:
    """Sees to it that no two messages of one session have the same id."""

    def __init__(self) -> None:
        # Hashes take a fraction of the ids' room; two that meet by chance only cost a new id.
        self._hashes: set[int] = set()

    def claim(self, packed: bytes) -> bytes:
        """Return the id, or a new one where it is empty or was claimed before."""
        if not packed or hash(packed) in self._hashes:
            packed = pack(new_id())
        self._hashes.add(hash(packed))
        return packed


class SessionKey(NamedTuple):
    """Which session is meant."""

    number: int
    """The store's own number for it: keys are made of this."""
    id: str


_MILLION = 1_000_000


def now_us() -> int:
    """Return the wall clock, in microseconds since 1970."""
    return time.time_ns() // 1000


def timestamp(us: int) -> Timestamp:
    """Microseconds since 1970 as a Timestamp."""
    return Timestamp(seconds=us // _MILLION, nanos=us % _MILLION * 1000)


def timestamp_us(time_: Timestamp) -> int:
    """Return a Timestamp in microseconds; finer parts are cut off."""
    return time_.seconds * _MILLION + time_.nanos // 1000


def duration(us: int) -> Duration:
    """Microseconds as a Duration, both parts of one sign."""
    value = Duration()
    value.FromMicroseconds(us)
    return value


def duration_us(value: Duration) -> int:
    """Return a Duration in microseconds."""
    return value.seconds * _MILLION + value.nanos // 1000
