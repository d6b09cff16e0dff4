"""Files as conversations: a document, a log of lines, a text or a database, found by what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BufferedReader
from itertools import chain, islice
from pathlib import Path
from typing import IO

from oblix._convert.validation import describe
from oblix.errors import InvalidArgumentError
from oblix.formats import catalog, opening
from oblix.formats.agents import catalog as tools
from oblix.formats.agents.databases import tables
from oblix.formats.catalog import Format
from oblix.formats.conversations import Conversation, unreadable
from oblix.formats.turns import is_message, is_turn
from oblix.formats.values import Found, values

MAX_LOG_BYTES = 128 * 1024 * 1024
"""Of a log or a text, which are read as a whole: a conversation is all of one."""
_HEAD_BYTES = 4096
_SURPRISES = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What a file raises that is built against every expectation: it must not end the import of the others."""


@dataclass(frozen=True, slots=True)
class Read:
    """One conversation of a file, or why it can't be read."""

    source: str
    """The file; of a zip file with the name inside."""
    place: str = ""
    """Where in the file: `line 3`. Empty: all of it."""
    conversation: Conversation | None = None
    problem: InvalidArgumentError | None = None
    """Both None: there is no conversation in it, since nobody asked anything."""
    is_unique: bool = False
    """Whether the conversation's source id is of the whole world, and so it can be told whether it grew."""
    position: int = 0
    """How many bytes of the file were read."""


def read_file(path: Path, format_: Format | None) -> Iterator[Read]:
    """Read every conversation of a file. `format_` None: what its content looks like."""
    try:
        if format_ is None and tables.is_database(path):
            yield from _database(path)
            return
        with opening.open_binary(path) as file:
            for source, stream in opening.streams(file, str(path)):
                yield from (
                    replace(read, position=file.tell()) for read in _stream(source, stream, file, format_)
                )
    except InvalidArgumentError as error:
        yield Read(str(path), problem=error)
    except _SURPRISES as error:
        problem = f"it is not as its format is: {type(error).__name__}: {describe(error)}"
        yield Read(str(path), problem=unreadable(str(path), problem))


def _database(path: Path) -> Iterator[Read]:
    size, has_any = path.stat().st_size, False
    for conversation in tools.read_database(path):
        has_any = True
        yield Read(str(path), conversation.session.id, conversation, is_unique=True, position=size)
    if not has_any:
        yield Read(str(path), position=size)


def _stream(source: str, stream: BufferedReader, file: IO[bytes], format_: Format | None) -> Iterator[Read]:
    """Read one file, or one member of a zip file. After one that can't be read on, the next is read."""
    try:
        if format_ is None and tools.is_history(
            stream.peek(_HEAD_BYTES)[:_HEAD_BYTES].decode("utf-8", "replace")
        ):
            yield from _text(source, stream)
            return
        first, found = _peek(values(stream, source))
        tool = (
            tools.log_tool([each.value for each in first if each.problem is None])
            if format_ is None
            else None
        )
        if tool is None and format_ is None and _are_messages(first):
            yield _messages(source, chain(first, found), file)
        elif tool is None:
            yield from _documents(source, chain(first, found), format_)
        else:
            yield from logger(source, chain(first, found), tool, file)
    except InvalidArgumentError as error:
        yield Read(source, problem=error)


def _peek(values: Iterator[Found]) -> tuple[list[Found], Iterator[Found]]:
    """Return the first values, and the rest, which raises where reading failed, also among the first."""
    first: list[Found] = []
    try:
        first.extend(islice(values, tools.HEAD_LINES))
    except InvalidArgumentError as error:
        return first, _raise_later(error)
    return first, values


def _raise_later(error: InvalidArgumentError) -> Iterator[Found]:
    raise error
    yield


def _text(source: str, stream: BufferedReader) -> Iterator[Read]:
    data = stream.read(MAX_LOG_BYTES + 1)
    if len(data) > MAX_LOG_BYTES:
        raise _too_large(source)
    for conversation in tools.read_text(data.decode("utf-8", "replace"), Path(source)):
        yield Read(source, conversation.session.id.partition("-")[2], conversation, is_unique=True)


def logger(source: str, values: Iterator[Found], tool: tools.LogTool, file: IO[bytes]) -> Iterator[Read]:
    lines, broken = _read_lines(source, values, file)
    has_any = False
    for conversation in tool.read(lines, Path(source)):
        has_any = True
        if broken:
            conversation.note(tools.NOT_JSON, broken)
        yield Read(source, "", conversation, is_unique=True)
    if not has_any:
        yield Read(source)


def _are_messages(first: list[Found]) -> bool:
    """Return whether each value is a message, and so all of them are one conversation."""
    values_ = [each.value for each in first if each.problem is None]
    are_turns = all(is_turn(value) and catalog.detect(value) is None for value in values_)
    return are_turns and any(map(is_message, values_))


def _messages(source: str, values: Iterator[Found], file: IO[bytes]) -> Read:
    lines, broken = _read_lines(source, values, file)
    read = _document(source, "", {"messages": lines}, catalog.reader("plain"))
    if broken and read.conversation is not None:
        read.conversation.note(tools.NOT_JSON, broken)
    return read


def _read_lines(source: str, values: Iterator[Found], file: IO[bytes]) -> tuple[list[object], int]:
    """Return the values of a log, and how many lines of it are none: the last one may be half written."""
    lines, broken = list[object](), 0
    for each in values:
        if file.tell() > MAX_LOG_BYTES:
            raise _too_large(source)
        broken += each.problem is not None
        if each.problem is None:
            lines.append(each.value)
    return lines, broken


def _documents(source: str, values: Iterator[Found], format_: Format | None) -> Iterator[Read]:
    given, has_any = format_, False
    for item in values:
        has_any = True
        if item.problem is not None:
            yield Read(source, item.place, problem=item.problem)
            continue
        for value in catalog.each_in(item.value):
            # What looks like nothing known is read as the one before, to say what is wrong with it.
            format_ = given or catalog.detect(value) or format_
            if format_ is None:
                raise _unknown(value, source)
            yield _document(source, item.place, value, format_)
    if not has_any:
        raise unreadable(source, "there are no conversations in it")


def _document(source: str, where: str, value: object, format_: Format) -> Read:
    try:
        conversation = format_.read(value)
    except InvalidArgumentError as error:
        return Read(source, where, problem=error)
    if not conversation.messages and not format_.is_own:
        # Exports are full of chats that were opened and left.
        return Read(source, where)
    return Read(source, where, conversation, is_unique=format_.has_unique_ids)


def _unknown(value: object, source: str) -> InvalidArgumentError:
    known = ", ".join((*catalog.READ, *tools.NAMES))
    problem = f"its format is not known: {describe(value)}; known are {known}"
    return unreadable(source, problem, reason="UNKNOWN_FORMAT")


def _too_large(source: str) -> InvalidArgumentError:
    most = MAX_LOG_BYTES // 2**20
    return unreadable(source, f"a log may have {most} MiB, this has more", reason="TOO_LARGE")
