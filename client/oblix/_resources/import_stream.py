"""Files on their way into the daemon: read, sent and accounted for, one conversation after another.

Sending sessions to be imported.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path

from oblix import errors
from oblix._convert.validation import describe
from oblix._transport.channel import Transport
from oblix.errors import InternalError, InvalidArgumentError
from oblix.formats import catalog, opening
from oblix.formats.catalog import Format
from oblix.formats.conversations import Conversation, unreadable
from oblix.formats.values import Found, values
from oblix.reports import ImportedSession
from oblix.v1 import messages_pb2, sessions_pb2

BATCH_MESSAGES = 1000
BATCH_BYTES = 4 * 1024 * 1024
"""A batch also ends where the next message would make it larger than this."""


async def import_one(
    transport: Transport,
    session: sessions_pb2.Session,
    messages: Sequence[messages_pb2.Message],
    *,
    keep_id: bool,
) -> sessions_pb2.Session:
    """Import a session and return it as it was recorded. Raises OblixError where the daemon refuses it."""
    header = sessions_pb2.ImportHeader(session=session, keep_id=keep_id)
    answers = transport.stream(
        lambda link: link.sessions.ImportSessions(steps_of(header, messages), metadata=link.metadata)
    )
    async with aclosing(answers):
        results = [answer.result async for answer in answers if answer.HasField("result")]
    if len(results) != 1:
        raise errors.InternalError(f"The daemon answered one import with {len(results)} results.")
    return _session_of(results[0])


def steps_of(
    header: sessions_pb2.ImportHeader, messages: Sequence[messages_pb2.Message]
) -> Iterator[sessions_pb2.ImportSessionsRequest]:
    """One session as it is sent: its header, then its messages in batches."""
    yield sessions_pb2.ImportSessionsRequest(header=header)
    for batch in _batches(messages):
        yield sessions_pb2.ImportSessionsRequest(messages=sessions_pb2.MessageBatch(messages=batch))


def _batches(messages: Sequence[messages_pb2.Message]) -> Iterator[list[messages_pb2.Message]]:
    batch: list[messages_pb2.Message] = []
    size = 0
    for message in messages:
        added = message.ByteSize()
        if batch and (len(batch) == BATCH_MESSAGES or size + added > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += added
    if batch:
        yield batch


def _session_of(result: sessions_pb2.ImportResult) -> sessions_pb2.Session:
    if not result.reason:
        return result.session
    is_taken = result.reason in {"SESSION_EXISTS", "SESSION_DELETED"}
    kind = errors.AlreadyExistsError if is_taken else errors.InvalidArgumentError
    raise kind(result.detail, reason=result.reason)


MAX_HEADER_BYTES = 1024 * 1024
MAX_MESSAGE_BYTES = 9 * 1024 * 1024
"""What the daemon takes in one step, and a little more: it says itself what is wrong with the rest."""

ALREADY_IMPORTED = "ALREADY_IMPORTED"
OTHER_BRANCHES = "other branches left out (--branches takes them)"

Steps = Iterator[sessions_pb2.ImportSessionsRequest]


@dataclass(frozen=True, slots=True)
class Options:
    """How an import is meant."""

    format: Format | None
    """None: what each file looks like."""
    keep_ids: bool
    skip_existing: bool
    branches: bool = False
    """Whether the other branches of a tree become sessions, too."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A conversation on its way: imported, unless its result says something else, or refused here."""

    entry: ImportedSession
    bytes_read: int


class ImportStream:
    """The steps of one import, and what became of each conversation, in order.

    `steps` runs in a thread of gRPC's, the rest where the answers are read.
    """

    def __init__(self, files: Sequence[Path], options: Options) -> None:
        self._files = files
        self._options = options
        # What was sent waits for its result; what was refused here waits for its turn.
        self._waiting: deque[_Sent] = deque()
        self._bytes_read = 0
        self.bytes_settled = 0
        """How much of the files is behind what was settled: reading runs ahead of the answers."""
        self.failure: Exception | None = None
        """Why reading ended early: a defect, to be raised where the answers are read."""

    def steps(self) -> Steps:
        """Everything that is sent."""
        try:
            for path in self._files:
                yield from self._file(path)
        except Exception as error:  # noqa: BLE001 - gRPC would hide it; it is raised where answers are read
            self.failure = error

    def settled(self, result: sessions_pb2.ImportResult) -> Iterator[ImportedSession]:
        """What is known once this result has come: it, and what was refused here before it."""
        yield from self._refusals()
        if not self._waiting:
            raise InternalError("The daemon answered for a session that was not sent.")
        yield _with_result(self._next(), result)

    def rest(self) -> Iterator[ImportedSession]:
        """What was refused here after the last result."""
        yield from self._refusals()
        if self._waiting:
            raise InternalError("The daemon did not answer for every session that was sent.")

    def _refusals(self) -> Iterator[ImportedSession]:
        while self._waiting and self._waiting[0].entry.outcome == "refused":
            yield self._next()

    def _next(self) -> ImportedSession:
        sent = self._waiting.popleft()
        self.bytes_settled = sent.bytes_read
        return sent.entry

    def _file(self, path: Path) -> Steps:
        before = self._bytes_read
        try:
            with opening.opened(path) as file:
                for source, stream in opening.streams(file, str(path)):
                    for step in self._stream(source, stream):
                        yield step
                        self._bytes_read = before + file.tell()
        except InvalidArgumentError as error:
            self._refuse(ImportedSession("refused", str(path)), error)

    def _stream(self, source: str, stream: BufferedReader) -> Steps:
        """One file, or one of a zip file: where it can't be read on, the next one is."""
        try:
            yield from self._conversations(source, values(stream, source))
        except InvalidArgumentError as error:
            self._refuse(ImportedSession("refused", source), error)

    def _conversations(self, source: str, found: Iterator[Found]) -> Steps:
        format_, has_any = self._options.format, False
        for item in found:
            values_ = (
                [item]
                if item.problem
                else [replace(item, value=each) for each in catalog.each_in(item.value)]
            )
            for each in values_:
                if each.problem is None and self._options.format is None:
                    # What looks like nothing known is read as the one before, to say what is wrong with it.
                    format_ = catalog.detect(each.value) or format_
                    if format_ is None:
                        raise _unknown(each, source)
                has_any = True
                yield from self._conversation(source, each, format_)
        if not has_any:
            raise unreadable(source, "there are no conversations in it")

    def _conversation(self, source: str, item: Found, format_: Format | None) -> Steps:
        entry = ImportedSession("refused", source, item.place)
        try:
            if item.problem is not None or format_ is None:
                raise item.problem or unreadable(source, "its format is not known")
            conversation = format_.read(item.value)
        except InvalidArgumentError as error:
            self._refuse(entry, error)
            return
        if conversation.branches and not self._options.branches:
            conversation.note(OTHER_BRANCHES, len(conversation.branches))
            conversation.branches.clear()
        for each in (conversation, *conversation.branches):
            yield from self._send(entry, each)

    def _send(self, entry: ImportedSession, conversation: Conversation) -> Steps:
        entry = replace(entry, title=conversation.session.title, notes=_notes(conversation))
        try:
            _check_sizes(conversation)
        except InvalidArgumentError as error:
            self._refuse(entry, error)
            return
        self._waiting.append(_Sent(replace(entry, outcome="imported"), self._bytes_read))
        header = sessions_pb2.ImportHeader(
            session=conversation.session,
            keep_id=self._options.keep_ids,
            skip_existing=self._options.skip_existing,
        )
        yield from steps_of(header, conversation.messages)

    def _refuse(self, entry: ImportedSession, error: InvalidArgumentError) -> None:
        refused = replace(entry, reason=error.reason, detail=_detail(error))
        self._waiting.append(_Sent(refused, self._bytes_read))


def _unknown(item: Found, source: str) -> InvalidArgumentError:
    problem = f"its format is not known: {describe(item.value)}; known are {', '.join(catalog.READ)}"
    return unreadable(source, problem, reason="UNKNOWN_FORMAT")


def _detail(error: InvalidArgumentError) -> str:
    """The problem alone: an entry says itself where it is."""
    return error.metadata.get("problem", error.message)


def _notes(conversation: Conversation) -> tuple[str, ...]:
    return tuple(f"{what}: {count}" for what, count in conversation.notes.items())


def _check_sizes(conversation: Conversation) -> None:
    """Raises InvalidArgumentError for what no step may hold: it would end the whole import."""
    if conversation.session.ByteSize() > MAX_HEADER_BYTES:
        raise _too_large("its header has", MAX_HEADER_BYTES)
    for index, message in enumerate(conversation.messages, 1):
        if message.ByteSize() > MAX_MESSAGE_BYTES:
            raise _too_large(f"message {index} has", MAX_MESSAGE_BYTES)


def _too_large(what: str, most: int) -> InvalidArgumentError:
    return InvalidArgumentError(f"{what} more than {most // 2**20} MiB.", reason="TOO_LARGE")


def _with_result(sent: ImportedSession, result: sessions_pb2.ImportResult) -> ImportedSession:
    if result.reason and result.reason != ALREADY_IMPORTED:
        return replace(sent, outcome="refused", reason=result.reason, detail=result.detail)
    return replace(
        sent,
        outcome="skipped" if result.reason else "imported",
        session_id=result.session.id,
        message_count=result.session.message_count,
        reason=result.reason,
        detail=result.detail,
    )
