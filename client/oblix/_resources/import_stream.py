"""Files on their way into the daemon: read, sent and accounted for, one conversation after another.

Sending sessions to be imported.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oblix import errors
from oblix.errors import InternalError, InvalidArgumentError
from oblix.formats import reading
from oblix.formats.catalog import Format
from oblix.formats.conversations import Conversation
from oblix.formats.reading import Read
from oblix.reports import ImportedSession, Outcome
from oblix.v1 import messages_pb2, sessions_pb2

BATCH_MESSAGES = 1000
BATCH_BYTES = 4 * 1024 * 1024
"""A batch also ends where the next message would make it larger than this."""


def only_result(results: Sequence[sessions_pb2.ImportResult]) -> sessions_pb2.Session:
    """Return the session of an import of one. Raises OblixError where the daemon refused it."""
    if len(results) != 1:
        raise errors.InternalError(f"The daemon answered one import with {len(results)} results.")
    return _session_of(results[0])


def steps_of(
    header: sessions_pb2.ImportHeader, messages: Sequence[messages_pb2.Message]
) -> Iterator[sessions_pb2.ImportSessionsRequest]:
    """Yield one session as it is sent: its header, then its messages in batches."""
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
IMPORT_DELETED = "IMPORT_DELETED"
NOTHING_SAID = "NOTHING_SAID"
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
    is_settled: bool = False
    """Whether it was not sent: nothing is to be taken of it."""


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

    def settle(self, result: sessions_pb2.ImportResult) -> Iterator[ImportedSession]:
        """Yield what is known once this result has come: it, and what was refused here before it."""
        yield from self._refusals()
        if not self._waiting:
            raise InternalError("The daemon answered for a session that was not sent.")
        yield _with_result(self._next(), result)

    def rest(self) -> Iterator[ImportedSession]:
        """Yield what was refused here after the last result."""
        yield from self._refusals()
        if self._waiting:
            raise InternalError("The daemon did not answer for every session that was sent.")

    def _refusals(self) -> Iterator[ImportedSession]:
        while self._waiting and self._waiting[0].is_settled:
            yield self._next()

    def _next(self) -> ImportedSession:
        sent = self._waiting.popleft()
        self.bytes_settled = sent.bytes_read
        return sent.entry

    def _file(self, path: Path) -> Steps:
        before = self._bytes_read
        for read in reading.read_file(path, self._options.format):
            self._bytes_read = before + read.position
            yield from self._read(read)
        self._bytes_read = before + _size(path)

    def _read(self, read: Read) -> Steps:
        entry = ImportedSession("refused", read.source, read.place)
        if read.problem is not None:
            self._refuse(entry, read.problem)
        elif read.conversation is None:
            self._settle(
                replace(entry, outcome="skipped", reason=NOTHING_SAID, detail="Nobody asked anything in it.")
            )
        else:
            yield from self._conversation(entry, read.conversation, read.is_unique)

    def _conversation(self, entry: ImportedSession, conversation: Conversation, is_unique: bool) -> Steps:
        is_tools = "tool" in conversation.session.metadata
        if conversation.branches and not (self._options.branches or is_tools):
            conversation.note(OTHER_BRANCHES, len(conversation.branches))
            conversation.branches.clear()
        for each in (conversation, *conversation.branches):
            yield from self._send(entry, each, is_unique)

    def _send(self, entry: ImportedSession, conversation: Conversation, is_unique: bool) -> Steps:
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
            grow=self._options.skip_existing and is_unique,
        )
        if conversation.fork is not None:
            header.parent_source_id = conversation.fork.source_id
            header.session.parent_sequence = conversation.fork.message_count
        yield from steps_of(header, conversation.messages)

    def _refuse(self, entry: ImportedSession, error: InvalidArgumentError) -> None:
        self._settle(replace(entry, reason=error.reason, detail=_detail(error)))

    def _settle(self, entry: ImportedSession) -> None:
        """Keep what needs no answer of the daemon's until its turn."""
        self._waiting.append(_Sent(entry, self._bytes_read, is_settled=True))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _detail(error: InvalidArgumentError) -> str:
    """Return the problem alone: an entry says itself where it is."""
    return error.metadata.get("problem", error.message)


def _notes(conversation: Conversation) -> tuple[str, ...]:
    return tuple(f"{what}: {count}" for what, count in conversation.notes.items())


def _check_sizes(conversation: Conversation) -> None:
    """Raise InvalidArgumentError for what no step may hold: it would end the whole import."""
    if conversation.session.ByteSize() > MAX_HEADER_BYTES:
        raise _too_large("its header has", MAX_HEADER_BYTES)
    for index, message in enumerate(conversation.messages, 1):
        if message.ByteSize() > MAX_MESSAGE_BYTES:
            raise _too_large(f"message {index} has", MAX_MESSAGE_BYTES)


def _too_large(what: str, most: int) -> InvalidArgumentError:
    return InvalidArgumentError(f"{what} more than {most // 2**20} MiB.", reason="TOO_LARGE")


def _with_result(session: ImportedSession, result: sessions_pb2.ImportResult) -> ImportedSession:
    if result.reason and result.reason not in (ALREADY_IMPORTED, IMPORT_DELETED):
        return replace(session, outcome="refused", reason=result.reason, detail=result.detail)
    outcome: Outcome = "skipped" if result.reason else "grown" if result.added_count else "imported"
    return replace(
        session,
        outcome=outcome,
        session_id=result.session.id,
        message_count=result.added_count or result.session.message_count,
        reason=result.reason,
        detail=result.detail,
    )
