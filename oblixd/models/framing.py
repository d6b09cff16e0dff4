"""Cuts lines and server-sent events out of whole network reads.

Both take bytes as they come off the wire, wherever a read happens to end, and
return what is complete by now. They cut at line feeds only, so a character of
several bytes is never split. What never ends is refused, not gathered.
"""

from __future__ import annotations

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes that a line, or the data of one event, may have."""


class TooLongError(ValueError):
    """A line or an event is longer than `LONGEST_LINE`."""


class Lines:
    """Cuts newline-delimited records."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._size = 0

    def feed(self, read: bytes) -> list[bytes]:
        """Take a read; return the lines it completes, without their ends."""
        first, *others = read.split(b"\n")
        self._begin(first)
        if not others:
            return []
        lines = [self._end(), *others[:-1]]
        self._begin(others[-1])
        return [line.removesuffix(b"\r") for line in lines]

    def rest(self) -> bytes:
        """Return what stands after the last line feed, at the end of the stream."""
        return self._end().removesuffix(b"\r")

    def _begin(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > LONGEST_LINE:
            raise TooLongError
        if piece:
            self._begun.append(piece)

    def _end(self) -> bytes:
        line = b"".join(self._begun)
        self._begun.clear()
        self._size = 0
        return line


class Events:
    """Cuts server-sent events and returns their data.

    Event names are left out: every format that we read repeats the kind inside
    the data. A line that is bare JSON, or an `error` field, counts as an event
    of its own: servers report a failure that way in the middle of a stream.
    """

    def __init__(self) -> None:
        self._lines = Lines()
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, read: bytes) -> list[bytes]:
        """Take a read; return the data of the events it completes."""
        return [data for line in self._lines.feed(read) for data in self._take(line)]

    def rest(self) -> list[bytes]:
        """Return what the end of the stream completes: its last event may lack the empty line."""
        last = self._take(self._lines.rest())
        return [*last, *self._dispatch()]

    def _take(self, line: bytes) -> list[bytes]:
        if not line:
            return self._dispatch()
        if line.startswith(b"{"):
            return [line]
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._gather(value)
        return [value] if field == b"error" else []

    def _gather(self, value: bytes) -> None:
        self._size += len(value)
        if self._size > LONGEST_LINE:
            raise TooLongError
        self._data.append(value)

    def _dispatch(self) -> list[bytes]:
        if not self._data:
            return []
        data = b"\n".join(self._data)
        self._data.clear()
        self._size = 0
        return [data]
