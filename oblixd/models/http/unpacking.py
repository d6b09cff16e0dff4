"""Unpacks the body of an answer that was compressed though nobody asked for that.

It comes in steps of bounded size: a few kilobytes can stand for gigabytes, and no more is
unpacked than is taken.
"""

from __future__ import annotations

import importlib
import zlib
from typing import Any, Protocol

STEP_BYTES = 256 * 1024
"""Bytes that one step gives at most."""
MOST_BYTES = 256 * 1024 * 1024
"""Bytes that one answer may unpack to."""
PLAIN = frozenset({"", "identity", "none", "utf-8", "utf8", "aws-chunked", "chunked"})
"""What stands in Content-Encoding where nothing is compressed. Only `identity` is in the standard."""
KNOWN = ("gzip", "deflate", "br")


class UnpackError(Exception):
    """The body is not what its head says, or unpacks to too much."""


class Unpacker:
    """Unpacks one body."""

    def __init__(self, encoding: str) -> None:
        """Unpack one body. `encoding`: one of `KNOWN`."""
        self._codec: _Codec = _Brotli() if encoding == "br" else _Zlib(encoding)
        self._total_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take a read of the body. What it took before must have been given."""
        self._codec.feed(data)

    def next_step(self) -> bytes:
        """Give the next step; nothing where another read is needed. Raises UnpackError."""
        data = self._codec.step()
        self._total_bytes += len(data)
        if self._total_bytes > MOST_BYTES:
            raise UnpackError(f"unpacks to more than {MOST_BYTES:,} bytes")
        return data

    def check_end(self) -> None:
        """Hear that the body ended. Raises UnpackError where that is too early."""
        if not self._codec.is_whole:
            raise UnpackError("ends in the middle")


class _Codec(Protocol):
    @property
    def is_whole(self) -> bool: ...

    def feed(self, data: bytes) -> None: ...

    def step(self) -> bytes: ...


class _Zlib:
    """gzip, and deflate in both of its forms: with the frame of zlib, as the standard has it, and without."""

    def __init__(self, encoding: str) -> None:
        self._is_gzip = encoding == "gzip"
        self._stream: Any = None
        self._unread = b""

    @property
    def is_whole(self) -> bool:
        return self._stream is None or self._stream.eof

    def feed(self, data: bytes) -> None:
        self._unread += data
        if self._stream is None and self._unread:
            self._stream = zlib.decompressobj(self._window(self._unread[0]))

    def step(self) -> bytes:
        if self._stream is None or self._stream.eof:
            self._unread = b""
            return b""
        try:
            data: bytes = self._stream.decompress(self._unread, STEP_BYTES)
        except zlib.error as error:
            raise UnpackError("can't be unpacked") from error
        self._unread = self._stream.unconsumed_tail
        return data

    def _window(self, first: int) -> int:
        if self._is_gzip:
            return zlib.MAX_WBITS | 16
        return zlib.MAX_WBITS if first & 0x0F == zlib.DEFLATED else -zlib.MAX_WBITS


class _Brotli:
    def __init__(self) -> None:
        # Nearly no server sends it unasked: it is loaded for the one that does.
        self._module = importlib.import_module("brotli")
        self._stream = self._module.Decompressor()
        self._unread = b""
        self._may_have_more = False

    @property
    def is_whole(self) -> bool:
        return bool(self._stream.is_finished())

    def feed(self, data: bytes) -> None:
        self._unread += data
        self._may_have_more = True

    def step(self) -> bytes:
        if self._stream.is_finished() or not self._may_have_more:
            return b""
        data, self._unread = self._unread, b""
        try:
            unpacked = bytes(self._stream.process(data, output_buffer_limit=STEP_BYTES))
        except self._module.error as error:
            raise UnpackError("can't be unpacked") from error
        # What it holds back after a full step it does not tell: an empty step is the sign of the end.
        self._may_have_more = bool(unpacked)
        return unpacked
