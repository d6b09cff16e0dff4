"""JSON values out of a stream, one at a time, in bounded memory.

The standard library parses each value; only where one ends is found here. (Of
the incremental parsers, the fast ones replace a lone surrogate by a question
mark without a word, and hold one value as large as the file.)
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from itertools import count
from typing import Any, NoReturn

from oblix.errors import InvalidArgumentError
from oblix.formats.conversations import unreadable

MAX_CHARACTERS = 64 * 1024 * 1024
"""Of one value: one conversation with all that is in it."""
MAX_TOKENS = 4_000_000
"""Texts, lists, objects and commas in one value: `[[[]]]` takes far more memory than room in a file."""
CHUNK_BYTES = 1024 * 1024

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)|[\[{,]', re.DOTALL)
_NOT_BLANK = re.compile(r"[^ \t\r\n]")
_BLANKS = b" \t\r\n"
_LONGEST_TAIL = 16
"""A word, a number or an escape that is cut fails at its start: so near to the end, more text may help."""


@dataclass(frozen=True, slots=True)
class Found:
    """One value of a stream, or why it can't be read."""

    place: str
    """`line 3` or `conversation 3`: for people, counted from 1."""
    value: Any = None
    problem: InvalidArgumentError | None = None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def values(stream: BufferedReader, source: str) -> Iterator[Found]:
    """Return the elements of an array, the values of JSON Lines, or the one value of a file.

    A line that is wrong is found with its problem, and the next ones follow.
    Raises InvalidArgumentError, naming the source, where a file can't be read on.
    """
    head = stream.peek(CHUNK_BYTES).removeprefix(codecs.BOM_UTF8).lstrip(_BLANKS)
    if not head:
        raise unreadable(source, "it is empty")
    if not head.startswith(b"[") and _has_lines(head):
        return _lines(stream, source)
    return _Text(stream, source).values()


def _has_lines(head: bytes) -> bool:
    """Return whether one of the first two lines is an object of its own: a document's lines are not."""
    return any(_is_object(line) for line in head.split(b"\n", 2)[:2])


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _lines(stream: BufferedReader, source: str) -> Iterator[Found]:
    for number in count(1):
        line = stream.readline(MAX_CHARACTERS + 1)
        if not line:
            return
        place = f"line {number}"
        try:
            if len(line) > MAX_CHARACTERS:
                raise _too_large(f"{source}, {place}")
            if line.strip(_BLANKS):
                yield Found(place, _parse(line, f"{source}, {place}"))
        except InvalidArgumentError as error:
            yield Found(place, problem=error)
        while line and not line.endswith(b"\n"):
            line = stream.readline(CHUNK_BYTES)


def _parse(line: bytes, name: str) -> Any:
    try:
        content = line.decode("utf-8-sig")
        if _has_too_many_tokens(content):
            raise _too_many(name)
        return _DECODER.decode(content)
    except RecursionError:
        raise unreadable(name, "it is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise unreadable(name, f"it is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except ValueError as error:
        raise unreadable(name, f"it is not JSON: {error}") from None


class _Text:
    """A window of a stream's text. It grows by doubling while a value does not end in it."""

    def __init__(self, stream: BufferedReader, source: str) -> None:
        self._stream = stream
        self._source = source
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0
        self._before = 0
        self._is_whole = False
        self._is_measured = False
        self._number = 0

    def values(self) -> Iterator[Found]:
        """Yield the elements of an array, or values one after another."""
        if self._next_character() == "[":
            self._at += 1
            yield from self._elements()
        while self._next_character():
            yield self._next_value()

    def _elements(self) -> Iterator[Found]:
        if self._next_character() != "]":
            yield self._next_value()
            while self._next_character() == ",":
                self._at += 1
                yield self._next_value()
        if self._next_character() != "]":
            problem = f"a comma or the list's end is missing at character {self._before + self._at}"
            raise self._unreadable(problem if self._next_character() else "it ends before its list does")
        self._at += 1
        if self._next_character():
            raise self._unreadable(f"something follows its list at character {self._before + self._at}")

    def _next_character(self) -> str:
        """Return the next character that is not blank, empty at the end. It is not consumed."""
        while (found := _NOT_BLANK.search(self._text, self._at)) is None:
            self._at = len(self._text)
            if self._is_whole:
                return ""
            self._read()
        self._at = found.start()
        return found.group()

    def _next_value(self) -> Found:
        self._number += 1
        self._next_character()
        while True:
            value, is_complete = self._try()
            if is_complete:
                return Found(f"conversation {self._number}", value)
            if len(self._text) - self._at > MAX_CHARACTERS:
                raise _too_large(self._place())
            self._read()

    def _try(self) -> tuple[Any, bool]:
        self._measure()
        try:
            value, end = _DECODER.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            self._check_cut(error)
            return None, False
        except RecursionError:
            raise unreadable(self._place(), "it is nested too deeply") from None
        except ValueError as error:
            raise unreadable(self._place(), f"it is not JSON: {error}") from None
        # A number at the end of the window may go on after it.
        if end == len(self._text) and not self._is_whole:
            return None, False
        self._at = end
        return value, True

    def _check_cut(self, error: json.JSONDecodeError) -> None:
        """Raise InvalidArgumentError where reading on does not help."""
        tail = 0 if self._is_whole else _LONGEST_TAIL
        may_be_cut = error.msg.startswith("Unterminated") or error.pos >= len(self._text) - tail
        if not may_be_cut:
            problem = f"{error.msg.removesuffix(' at')} at character {self._before + error.pos}"
            raise unreadable(self._place(), f"it is not JSON: {problem}")
        if self._is_whole:
            raise self._unreadable(f"it ends in the middle of conversation {self._number}")

    def _measure(self) -> None:
        """Measure a window once: it stays small enough while values are taken off it."""
        if not self._is_measured and _has_too_many_tokens(self._text[self._at :]):
            raise _too_many(self._place())
        self._is_measured = True

    def _read(self) -> None:
        left = self._text[self._at :]
        data = self._stream.read(max(CHUNK_BYTES, min(len(left), MAX_CHARACTERS - len(left))))
        try:
            more = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise self._unreadable(f"it is not UTF-8 text: {error.reason}") from None
        self._before += self._at
        self._text, self._at = left + more, 0
        self._is_whole = not data
        self._is_measured = False

    def _place(self) -> str:
        return f"{self._source}, conversation {self._number}"

    def _unreadable(self, problem: str) -> InvalidArgumentError:
        return unreadable(self._source, problem)


def _has_too_many_tokens(content: str) -> bool:
    if len(content) <= MAX_TOKENS:
        return False
    # Quick, and never too few: what stands inside texts counts as well. Only then is it counted exactly.
    if content.count('"') // 2 + sum(content.count(sign) for sign in "[{,") <= MAX_TOKENS:
        return False
    return any(number > MAX_TOKENS for number, _ in enumerate(_TOKEN.finditer(content), 1))


def _too_large(where: str) -> InvalidArgumentError:
    most = MAX_CHARACTERS // 2**20
    return unreadable(where, f"one conversation may have {most} MiB, this has more", reason="TOO_LARGE")


def _too_many(where: str) -> InvalidArgumentError:
    problem = f"it has more than {MAX_TOKENS:,} values"
    return unreadable(where, problem, reason="TOO_LARGE")
