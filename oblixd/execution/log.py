"""The events of one execution: written once, read by any number of streams at their own pace.

The text is kept once, whoever reads: a stream holds only a position, so a slow
or frozen one costs nothing, and one that attaches late reads from where it likes.
What arrived while a stream was busy reaches it as one delta.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from oblix.v1 import executions_pb2 as pb

from oblixd.errors import InvalidArgumentError, OblixdError

MAX_DELTA_BYTES = 1 << 20
"""A delta's text, so that an event stays far below gRPC's limit for a message."""


@dataclass(slots=True)
class _Text:
    kind: pb.DeltaKind.ValueType
    call: pb.ToolCallHead | None
    start: int
    data: bytearray = field(default_factory=bytearray)

    def splits_character(self, offset: int) -> bool:
        """Whether the offset, counted over all deltas, is inside one of this text's characters."""
        return self.start < offset < self.start + len(self.data) and _continues(
            self.data[offset - self.start]
        )


@dataclass(slots=True)
class _Cursor:
    index: int
    offset: int


class EventLog:
    """Append-only; ends once, with or without an error."""

    def __init__(self) -> None:
        self._entries: list[pb.ExecuteResponse | _Text] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._ended = False
        self._error: OblixdError | None = None
        self.size = 0
        """Bytes of UTF-8 of all deltas so far."""

    @property
    def error(self) -> OblixdError | None:
        """Why it ended, where it failed."""
        return self._error

    def append(self, event: pb.ExecuteResponse) -> None:
        """Add an event that is not a delta."""
        self._entries.append(event)
        self._wake()

    def append_text(
        self, kind: pb.DeltaKind.ValueType, data: bytes, call: pb.ToolCallHead | None = None
    ) -> None:
        """Add a piece of the answer, or of the arguments of `call`, as UTF-8 of whole characters."""
        last = self._entries[-1] if self._entries else None
        if not isinstance(last, _Text) or (last.kind, last.call) != (kind, call):
            last = _Text(kind, call, self.size)
            self._entries.append(last)
        last.data += data
        self.size += len(data)
        self._wake()

    def end(self, error: OblixdError | None = None) -> None:
        """Close the log: readers get what is left, then the error if there is one."""
        self._ended, self._error = True, error
        self._wake()

    async def read(self, offset: int = 0) -> AsyncGenerator[pb.ExecuteResponse, None]:
        """Yield all events, without the first `offset` bytes of text, then go on live to the end."""
        self._check(offset)
        cursor = _Cursor(0, offset)
        while True:
            event = self._take(cursor)
            if event is not None:
                yield event
            elif self._ended:
                break
            else:
                await self._more()
        if self._error is not None:
            raise self._error

    def _take(self, cursor: _Cursor) -> pb.ExecuteResponse | None:
        while cursor.index < len(self._entries):
            entry = self._entries[cursor.index]
            if not isinstance(entry, _Text):
                cursor.index += 1
                return entry
            taken = max(cursor.offset - entry.start, 0)
            if taken < len(entry.data):
                data = _whole_characters(entry.data, taken)
                cursor.offset = entry.start + taken + len(data)
                return _delta(entry, data, entry.start + taken)
            if entry is self._entries[-1]:
                break
            cursor.index += 1
        return None

    def _check(self, offset: int) -> None:
        if not 0 <= offset <= self.size:
            raise InvalidArgumentError(
                "OFFSET_OUT_OF_RANGE",
                f"offset is {offset}, but the answer has {self.size} bytes so far: "
                "attach with the number of bytes that you have",
                field="offset",
                limit=self.size,
                given=offset,
            )
        if any(isinstance(entry, _Text) and entry.splits_character(offset) for entry in self._entries):
            raise InvalidArgumentError(
                "OFFSET_INSIDE_CHARACTER",
                f"offset {offset} is inside a character: it counts bytes of UTF-8 of whole deltas",
                field="offset",
                given=offset,
            )

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _more(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)


def _delta(entry: _Text, data: bytes, offset: int) -> pb.ExecuteResponse:
    delta = pb.ExecutionDelta(kind=entry.kind, text=data.decode(), offset=offset, tool_call=entry.call)
    return pb.ExecuteResponse(delta=delta)


def _whole_characters(data: bytearray, start: int) -> bytes:
    end = min(len(data), start + MAX_DELTA_BYTES)
    while end < len(data) and _continues(data[end]):
        end -= 1
    return bytes(data[start:end])


def _continues(byte: int) -> bool:
    """Whether a byte of UTF-8 is not the first of its character (RFC 3629)."""
    return byte & 0b1100_0000 == 0b1000_0000  # noqa: PLR2004 - the format's own mark
