"""The events of one execution: written once, read by any number of streams at their own pace.

The text is kept once, whoever reads: a stream holds only a position, so a slow
or frozen one costs nothing, and one that attaches late reads from where it likes.
What arrived while a stream was busy reaches it as one delta.

`log_of` makes the log of a turn that a session holds, for a client that sends its request again: nothing
runs twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from oblix.v1 import executions_pb2, messages_pb2, routing_pb2

from oblixd.errors import FailedPreconditionError, OblixdError, invalid_argument
from oblixd.execution import errors
from oblixd.execution.fallback import Restart
from oblixd.models import Content, ContentKind, Seal
from oblixd.sessions import RecordedTurn

MAX_DELTA_BYTES = 1 << 20
"""A delta's text, so that an event stays far below gRPC's limit for a message."""


class LogText(Protocol):
    """What a piece of text is."""

    @property
    def kind(self) -> executions_pb2.DeltaKind.ValueType:
        """Text, reasoning, or the arguments of a tool call."""

    @property
    def call(self) -> executions_pb2.ToolCallHead | None:
        """The tool call; None for other pieces."""


class LogPosition(NamedTuple):
    """A position in a log."""

    entry: int
    size: int
    """Bytes of that entry's text that are before the position."""


@dataclass(slots=True)
class _Text:
    kind: executions_pb2.DeltaKind.ValueType
    call: executions_pb2.ToolCallHead | None
    start: int
    data: bytearray = field(default_factory=bytearray)

    def splits_character(self, offset: int) -> bool:
        """Return whether the offset, counted over all deltas, is inside one of this text's characters."""
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
        self._entries: list[executions_pb2.ExecuteResponse | _Text] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._is_ended = False
        self._error: OblixdError | None = None
        self.size = 0
        """Bytes of UTF-8 of all deltas so far."""

    @property
    def error(self) -> OblixdError | None:
        """Why it ended, where it failed."""
        return self._error

    @property
    def completed(self) -> executions_pb2.ExecutionCompleted | None:
        """The answer's end, where it came to one."""
        last = self._entries[-1] if self._entries else None
        if isinstance(last, executions_pb2.ExecuteResponse) and last.HasField("completed"):
            return last.completed
        return None

    @property
    def held_bytes(self) -> int:
        """What it takes of memory, about."""
        return sum(len(e.data) if isinstance(e, _Text) else e.ByteSize() for e in self._entries)

    def append(self, event: executions_pb2.ExecuteResponse) -> None:
        """Add an event that is not a delta."""
        self._entries.append(event)
        self._wake()

    def append_text(
        self,
        kind: executions_pb2.DeltaKind.ValueType,
        data: bytes,
        call: executions_pb2.ToolCallHead | None = None,
    ) -> None:
        """Add a piece of the answer, or of the arguments of `call`, as UTF-8 of whole characters."""
        last = self._entries[-1] if self._entries else None
        if not isinstance(last, _Text) or (last.kind, last.call) != (kind, call):
            last = _Text(kind, call, self.size)
            self._entries.append(last)
        last.data += data
        self.size += len(data)
        self._wake()

    def next_position(self) -> LogPosition:
        """Return the position of what comes next, unless that goes on with the last text."""
        return LogPosition(len(self._entries), 0)

    def end_position(self) -> LogPosition:
        """Return the position behind everything that is there."""
        last = self._entries[-1] if self._entries else None
        if isinstance(last, _Text):
            return LogPosition(len(self._entries) - 1, len(last.data))
        return LogPosition(len(self._entries), 0)

    def texts(self, since: LogPosition) -> Iterator[tuple[LogText, bytes]]:
        """Yield the pieces of the answer that came behind a position, neighbours of one kind joined."""
        for number, entry in enumerate(self._entries[since.entry :]):
            if isinstance(entry, _Text):
                yield entry, bytes(entry.data[since.size :] if number == 0 else entry.data)

    def end(self, error: OblixdError | None = None) -> None:
        """Close the log: readers get what is left, then the error if there is one."""
        self._is_ended, self._error = True, error
        self._wake()

    async def read(self, offset: int = 0) -> AsyncGenerator[executions_pb2.ExecuteResponse, None]:
        """Yield all events, without the first `offset` bytes of text, then go on live to the end."""
        self._check(offset)
        cursor = _Cursor(0, offset)
        while True:
            event = self._take(cursor)
            if event is not None:
                yield event
            elif self._is_ended:
                break
            else:
                await self._wait_for_more()
        if self._error is not None:
            raise self._error

    def _take(self, cursor: _Cursor) -> executions_pb2.ExecuteResponse | None:
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
            raise invalid_argument(
                "OFFSET_OUT_OF_RANGE",
                f"offset takes 0 to {self.size}, the bytes of the answer so far; given: {offset}. "
                "Attach with the number of bytes that you have.",
                field="offset",
                limit=self.size,
                given=offset,
            )
        if any(isinstance(entry, _Text) and entry.splits_character(offset) for entry in self._entries):
            raise invalid_argument(
                "OFFSET_INSIDE_CHARACTER",
                f"offset takes the length of whole deltas in bytes of UTF-8; {offset} is inside a character. "
                "Attach with the number of bytes that you have.",
                field="offset",
                given=offset,
            )

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _wait_for_more(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)


def _delta(entry: _Text, data: bytes, offset: int) -> executions_pb2.ExecuteResponse:
    delta = executions_pb2.ExecutionDelta(
        kind=entry.kind, text=data.decode(), offset=offset, tool_call=entry.call
    )
    return executions_pb2.ExecuteResponse(delta=delta)


def _whole_characters(data: bytearray, start: int) -> bytes:
    end = min(len(data), start + MAX_DELTA_BYTES)
    while end < len(data) and _continues(data[end]):
        end -= 1
    return bytes(data[start:end])


def _continues(byte: int) -> bool:
    """Return whether a byte of UTF-8 is not the first of its character (RFC 3629)."""
    return byte & 0b1100_0000 == 0b1000_0000  # noqa: PLR2004 - the format's own mark


KIND = {
    ContentKind.TEXT: executions_pb2.DELTA_KIND_TEXT,
    ContentKind.REASONING: executions_pb2.DELTA_KIND_REASONING,
    ContentKind.TOOL_CALL: executions_pb2.DELTA_KIND_TOOL_CALL,
}


def queued_event(request_id: str, position: int, model: str) -> executions_pb2.ExecuteResponse:
    """Return that it waits: for a model, or for its session's turn where none is named."""
    return executions_pb2.ExecuteResponse(
        queued=executions_pb2.ExecutionQueued(request_id=request_id, place=position, model=model)
    )


def started_event(
    request: executions_pb2.ExecuteRequest, message_ids: Sequence[str], decision: routing_pb2.RoutingDecision
) -> executions_pb2.ExecuteResponse:
    """Return that its turn has begun, and where it goes."""
    event = executions_pb2.ExecutionStarted(
        request_id=request.request_id,
        session_id=request.session_id,
        message_ids=message_ids,
        decision=decision,
        agent_checks=request.agent_checks,
    )
    return executions_pb2.ExecuteResponse(started=event)


def seal_event(seal: Seal, offset: int) -> executions_pb2.ExecuteResponse:
    """Make the event of what a provider adds to the reasoning before it."""
    delta = executions_pb2.ExecutionDelta(
        kind=executions_pb2.DELTA_KIND_REASONING,
        offset=offset,
        signature=seal.signature,
        redacted=seal.redacted_data,
    )
    return executions_pb2.ExecuteResponse(delta=delta)


def head(content: Content) -> executions_pb2.ToolCallHead | None:
    """Return what a tool call's deltas begin with; None for other content."""
    call = content.call
    return executions_pb2.ToolCallHead(call_id=call.call_id, name=call.name) if call else None


def rerouted_event(restart: Restart) -> executions_pb2.ExecuteResponse:
    """Return that the answer begins anew on another model."""
    event = executions_pb2.ExecutionRerouted(
        from_model=restart.from_model,
        to_model=restart.to_model,
        reason=restart.error.kind.value,
        detail=restart.error.message,
    )
    return executions_pb2.ExecuteResponse(rerouted=event)


_FAILED = messages_pb2.MESSAGE_STATUS_FAILED
_STATE = {
    messages_pb2.MESSAGE_STATUS_COMPLETE: executions_pb2.EXECUTION_STATE_COMPLETED,
    messages_pb2.MESSAGE_STATUS_CANCELLED: executions_pb2.EXECUTION_STATE_CANCELLED,
}


def log_of(request_id: str, turn: RecordedTurn) -> EventLog:
    """Return the events of a turn as its record has them: started, the text in whole, and the end."""
    log, answer = EventLog(), turn.answer or messages_pb2.Message()
    request = executions_pb2.ExecuteRequest(request_id=request_id, session_id=turn.session_id)
    log.append(started_event(request, [message.id for message in turn.question], answer.decision))
    for part in answer.parts:
        _append_part(log, part)
    error = _error(request_id, turn, log.size)
    if error is None:
        log.append(executions_pb2.ExecuteResponse(completed=_completion(request_id, turn, answer)))
    log.end(error)
    return log


def offset_in(log: EventLog, turn: RecordedTurn, offset: int) -> int:
    """Return where to read from. A client may have read more than was on disk before a crash."""
    return min(offset, log.size) if turn.status not in (*_STATE, _FAILED) else offset


def summary_of(request_id: str, turn: RecordedTurn) -> executions_pb2.Execution:
    """Return a turn as a list shows an execution, as far as the record tells."""
    log, error = log_of(request_id, turn), turn.completion.error
    result = executions_pb2.Execution(
        request_id=request_id,
        session_id=turn.session_id,
        state=_STATE.get(turn.status, executions_pb2.EXECUTION_STATE_FAILED),
        model=turn.answer.model if turn.answer else "",
        delta_bytes=log.size,
        error_reason=error.reason if error else "",
    )
    if turn.question:
        result.create_time.CopyFrom(turn.question[-1].create_time)
    return result


def is_same(turn: RecordedTurn, request: executions_pb2.ExecuteRequest, fingerprint: bytes) -> bool:
    """Return whether a request asks what the turn's did. Turns without fingerprints go by their session."""
    return turn.fingerprint == fingerprint if turn.fingerprint else turn.session_id == request.session_id


def _append_part(log: EventLog, part: messages_pb2.Part) -> None:
    match part.WhichOneof("kind"):
        case "text":
            log.append_text(executions_pb2.DELTA_KIND_TEXT, part.text.encode())
        case "reasoning":
            log.append_text(executions_pb2.DELTA_KIND_REASONING, part.reasoning.encode())
        case "tool_call":
            call = part.tool_call
            head = executions_pb2.ToolCallHead(call_id=call.call_id, name=call.name)
            log.append_text(executions_pb2.DELTA_KIND_TOOL_CALL, call.arguments_json.encode(), head)


def _error(request_id: str, turn: RecordedTurn, kept_bytes: int) -> OblixdError | None:
    if turn.completion.error is not None:
        return turn.completion.error
    if turn.status == messages_pb2.MESSAGE_STATUS_COMPLETE and turn.answer is None:
        return _answer_deleted(request_id, turn)
    if turn.status in _STATE:
        return None
    answer_id = turn.answer.id if turn.answer else ""
    return errors.interruption(
        session_id=turn.session_id,
        message_id=turn.question[-1].id if turn.question else "",
        answer_id=answer_id,
        kept_bytes=kept_bytes,
    )


def _answer_deleted(request_id: str, turn: RecordedTurn) -> FailedPreconditionError:
    return FailedPreconditionError(
        "ANSWER_DELETED",
        f"The answer of request {request_id} was deleted from session {turn.session_id}, and a request is "
        "not run twice. Send the prompt with a new request_id.",
        session_id=turn.session_id,
        request_id=request_id,
    )


def _completion(
    request_id: str, turn: RecordedTurn, answer: messages_pb2.Message
) -> executions_pb2.ExecutionCompleted:
    completed = executions_pb2.ExecutionCompleted.FromString(turn.completion.report)
    completed.request_id, completed.session_id = request_id, turn.session_id
    completed.message.CopyFrom(answer)
    cancelled = turn.status == messages_pb2.MESSAGE_STATUS_CANCELLED
    otherwise = executions_pb2.FINISH_REASON_CANCELLED if cancelled else executions_pb2.FINISH_REASON_STOP
    completed.finish_reason = turn.completion.finish_reason or otherwise
    return completed
