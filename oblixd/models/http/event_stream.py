"""Cuts lines and server-sent events out of whole network reads.

Both take bytes as they come off the wire, wherever a read happens to end, and
return what is complete by now. Line ends are those of the event stream format
(WHATWG HTML, section 9.2): LF, CR LF or CR, after an optional byte order mark.
None of these bytes is part of a character of several bytes, so no character is
split. What never ends is refused, not gathered.

Nearly all of a long answer looks the same: one event, or one line, for each token. Reads of such
events are cut at once, and `PlainEvents` decodes them at once. Everything else is looked at one by one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST_LINE = 16 * 1024 * 1024
"""Bytes that a line, or the data of one event, may have."""

_KEEP_ALIVE = re.compile(
    rb"\W*(ping|pong|keep[\W_]?alive|heart[\W_]?beat|hb|null|none|undefined|(\w+ )?processing)?\W*",
    re.IGNORECASE,
)
"""What servers and gateways send as an event's name or data while they wait: none of it is content."""

_LONGEST_KEEP_ALIVE = 80

_BETWEEN, _DATA = b"\n\n", b"data: "
"""What stands between two events, and before the data of an event, as nearly all servers write them."""
_PLAIN_HEAD = re.compile(rb"(?:event: ([^\r\n]*)\n)?data: ")
_LAST = 3
"""The last events of an answer that may say other things: the reason for the end, the counts and [DONE]."""

T = TypeVar("T")


class TooLongError(ValueError):
    """A line or an event is longer than `LONGEST_LINE`."""


class LineSplitter:
    """Cuts lines."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._after_return = False
        self._is_first = True

    def expect_no_mark(self) -> None:
        """Know that the stream begins without a byte order mark, where it begins with the next read."""
        if not self._pieces:
            self._is_first = False

    def feed(self, read: bytes) -> list[bytes]:
        """Take a read; return the lines it completes, without their ends."""
        first, *others = self._with_line_feeds(read).split(b"\n")
        self._begin(first)
        if not others:
            return []
        lines = [self._end(), *others[:-1]]
        self._begin(others[-1])
        return lines

    def rest(self) -> bytes:
        """Return what stands after the last line's end, at the end of the stream."""
        return self._end()

    @property
    def is_between(self) -> bool:
        """Whether the next byte begins a line, which is not the first."""
        return not (self._pieces or self._is_first or self._after_return)

    def _with_line_feeds(self, read: bytes) -> bytes:
        """Write every line's end as one line feed. A CR and its LF can come in two reads."""
        if self._after_return and read:
            read = read.removeprefix(b"\n")
            self._after_return = False
        if b"\r" not in read:
            return read
        self._after_return = read.endswith(b"\r")
        return read.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _begin(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > LONGEST_LINE:
            raise TooLongError
        if piece:
            self._pieces.append(piece)

    def _end(self) -> bytes:
        line = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if self._is_first:
            self._is_first = False
            return line.removeprefix(_BYTE_ORDER_MARK)
        return line


class EventSplitter:
    """Cuts server-sent events, lines of JSON and JSON documents, and returns their data.

    Servers that are asked for a stream answer with any of the three: one JSON
    document (on one line or indented) where they do not stream, and a bare line
    of JSON or an `error` field where they fail in the middle. Event names are
    left out: every format that we read repeats the kind inside the data. Events
    without data, and those that only keep a connection alive, are no events.
    """

    def __init__(self, *, of_lines: bool = False) -> None:
        """`of_lines`: the format is one JSON object a line, so that any other line is content, too."""
        self._of_lines = of_lines
        self._lines = LineSplitter()
        self._data: list[bytes] = []
        self._size = 0
        self._name = b""
        self._indent: int | None = None
        """The column at which the JSON document began that is being gathered. None: none is."""

    def feed(self, read: bytes) -> list[bytes]:
        """Take a read; return the data of the events it completes."""
        events = []
        if read.startswith(_DATA):
            self._lines.expect_no_mark()
        if not self._is_between:
            begun, end, read = read.partition(_BETWEEN)
            events = self._feed_lines(begun + end)
        whole, end, begun = read.rpartition(_BETWEEN)
        if end:
            events += self._feed_events(whole)
        return [*events, *self._feed_lines(begun)] if begun else events

    def rest(self) -> list[bytes]:
        """Return what the end of the stream completes: its last event may lack the empty line."""
        last = self._take(self._lines.rest())
        return [*last, *self._dispatch()]

    @property
    def _is_between(self) -> bool:
        """Whether the next byte begins an event."""
        return self._lines.is_between and not (self._data or self._name) and self._indent is None

    def _feed_events(self, events: bytes) -> list[bytes]:
        """Take events up to the empty line behind the last one, and cut them at once if they are plain."""
        plain = _plain_events(events) if self._is_between else None
        return self._feed_lines(events + _BETWEEN) if plain is None else plain

    def _feed_lines(self, read: bytes) -> list[bytes]:
        """Take lines, and cut them at once if each is a JSON object."""
        if not self._of_lines:
            return self._look_at_lines(read)
        events = []
        if not self._is_between:
            begun, end, read = read.partition(b"\n")
            events = self._look_at_lines(begun + end)
        whole, end, begun = read.rpartition(b"\n")
        if end:
            plain = _plain_lines(whole) if self._is_between else None
            events += self._look_at_lines(whole + end) if plain is None else plain
        return [*events, *self._look_at_lines(begun)] if begun else events

    def _look_at_lines(self, read: bytes) -> list[bytes]:
        return [data for line in self._lines.feed(read) for data in self._take(line)]

    def _take(self, line: bytes) -> list[bytes]:
        if self._indent is not None:
            return self._document(line)
        if not line.strip():
            return self._dispatch()
        if line.lstrip()[:1] in (b"{", b"["):
            return self._json(line)
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match field.strip():
            case b"data":
                return self._take_data(value)
            case b"event":
                self._name = value.strip()
            case b"error":
                return [value]
            case _ if self._of_lines and field and not _is_keep_alive(line):
                return [line]
        return []

    def _take_data(self, value: bytes) -> list[bytes]:
        """Take a line of data. Some servers leave out the empty line between two events."""
        last = self._data[-1].rstrip() if self._data else b""
        # No JSON goes on behind an object with another one.
        is_next = last.endswith(b"}") and (value.lstrip().startswith(b"{") or value.strip() == b"[DONE]")
        before = self._dispatch() if is_next else []
        self._gather(value)
        return before

    def _json(self, line: bytes) -> list[bytes]:
        """Take a bare line that begins like JSON: a whole document, or the first line of one."""
        before = self._dispatch()
        if line.rstrip()[-1:] in (b"}", b"]"):
            return [*before, line]
        self._indent = _indent(line)
        self._gather(line)
        return before

    def _document(self, line: bytes) -> list[bytes]:
        """Take the next line of a JSON document. The bracket that ends it is indented as its first one."""
        self._gather(line)
        is_end = line.strip()[-1:] in (b"}", b"]") and _indent(line) <= (self._indent or 0)
        return self._dispatch() if is_end and _is_json(b"\n".join(self._data)) else []

    def _gather(self, value: bytes) -> None:
        self._size += len(value)
        if self._size > LONGEST_LINE:
            raise TooLongError
        self._data.append(value)

    def _dispatch(self) -> list[bytes]:
        name, self._name, self._indent = self._name, b"", None
        if not self._data:
            return []
        data = b"\n".join(self._data)
        self._data.clear()
        self._size = 0
        return [] if _is_idle(data) or (name and _is_keep_alive(name)) else [data]


def _plain_events(events: bytes) -> list[bytes] | None:
    """Cut events that are one line of data each, all under the same name or none. None: they are not."""
    head = _PLAIN_HEAD.match(events)
    if head is None or b"\r" in events or len(events) > LONGEST_LINE:
        return None
    begin = head.group()
    data = events.removeprefix(begin).split(_BETWEEN + begin)
    is_plain = events.count(b"\n") == len(data) * begin.count(b"\n") + 2 * (len(data) - 1)
    if not is_plain or (head[1] and _is_keep_alive(head[1])):
        return None
    return [one for one in data if not _is_idle(one)]


def _plain_lines(lines: bytes) -> list[bytes] | None:
    """Cut lines that are a JSON object each. None: they are not."""
    objects = lines.split(b"\n")
    is_plain = (
        lines.startswith(b"{")
        and lines.endswith(b"}")
        and lines.count(b"}\n{") == len(objects) - 1
        and b"\r" not in lines
        and len(lines) <= LONGEST_LINE
    )
    return objects if is_plain else None


class PlainEvent(Generic[T]):
    """The form of an event that is a piece of an answer and nothing else."""

    def __init__(self, form: type[T], texts: Callable[[list[T]], list[str]]) -> None:
        """`form` forbids fields that are not known. `texts` leaves out what holds another thing too."""
        self._decoder = msgspec.json.Decoder(form)
        self._texts = texts

    def text(self, events: Sequence[bytes]) -> str:
        """Give the text of events that all have this form; empty where one has another, or there is none."""
        try:
            decoded = self._decoder.decode_lines(b"\n".join(events))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return ""
        texts = self._texts(decoded)
        return "".join(texts) if len(texts) == len(events) else ""


class PlainEvents:
    """Decodes events of a few forms at once, and tells which ones have to be looked at more closely."""

    def __init__(self, *forms: tuple[Any, PlainEvent[Any]]) -> None:
        """Take each form with what its text is a piece of."""
        self._forms = forms

    def parts(self, events: Sequence[bytes]) -> list[tuple[Any, str | bytes]]:
        """Give the text of plain events with what it is a piece of; the data of any other with None."""
        if plain := self._plain_text(events):
            return [plain]
        if len(events) == 1:
            return [(None, events[0])]
        first = self._plain_text(events[:-_LAST])
        last = events[-_LAST:] if first else events
        return [*([first] if first else ()), *(self._plain_text([data]) or (None, data) for data in last)]

    def _plain_text(self, events: Sequence[bytes]) -> tuple[Any, str | bytes] | None:
        for kind, form in self._forms:
            if text := form.text(events):
                return kind, text
        return None


def _is_idle(data: bytes) -> bool:
    return data.startswith(b":") or _is_keep_alive(data)


def _is_keep_alive(text: bytes) -> bool:
    return len(text) <= _LONGEST_KEEP_ALIVE and _KEEP_ALIVE.fullmatch(text) is not None


def _indent(line: bytes) -> int:
    return len(line) - len(line.lstrip())


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
