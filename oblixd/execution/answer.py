"""An answer while it is being written: what has come so far, and its checkpoints.

A checkpoint is due 250 ms after something came, or when 4 KiB wait, whichever
is first. Checkpoints are written one after another, beside the stream: the
stream never waits for the disk.

What an execution makes and leaves behind: its answer, and on disk its turn, where it has a session.

How long an answer took, on the monotonic clock.
"""

from __future__ import annotations

import asyncio
import io
import time
from dataclasses import asdict, replace
from typing import Protocol

from google.protobuf.duration_pb2 import Duration
from oblix.v1 import executions_pb2, messages_pb2, routing_pb2

from oblixd.models import Content, ContentKind, Finished, Hook, ToolCall
from oblixd.sessions import Outcome, Turn

MAX_ANSWER_BYTES = (8 << 20) - (64 << 10)
"""An answer ends here. A message may have 8 MiB, what frames its parts included."""
_LONGEST_CHARACTER = 4
CHECKPOINT_S = 0.25
CHECKPOINT_BYTES = 4096


class Checkpoints(Protocol):
    """Where an answer's pieces are kept."""

    async def checkpoint(self, parts: list[messages_pb2.Part]) -> None:
        """Keep some more of the answer."""

    async def restart(self) -> None:
        """Drop the pieces that were kept: the answer begins anew."""


class Answer:
    """Collects what a model says. Without checkpoints nothing is kept on the way."""

    def __init__(self, checkpoints: Checkpoints | None) -> None:
        self._checkpoints = checkpoints
        self._pieces = _Pieces()
        self._waiting = _Pieces()
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """Bytes of UTF-8 so far."""
        return self._pieces.size

    @property
    def begun(self) -> bool:
        """Whether anything has come, be it the mere name of a tool."""
        return self._pieces.begun

    @property
    def is_full(self) -> bool:
        """Whether no more fits. What is cut is cut between characters, so a few bytes may be left."""
        return self.size > MAX_ANSWER_BYTES - _LONGEST_CHARACTER

    def add(self, content: Content) -> bytes:
        """Take in the next piece, or what fits of it, and return that as UTF-8."""
        data = content.text.encode()
        room = MAX_ANSWER_BYTES - self.size
        if len(data) > room:
            content = replace(content, text=data[:room].decode(errors="ignore"))
            data = content.text.encode()
        self._pieces.add(content, len(data))
        # Half a tool call is of no use to whoever finds it after a crash.
        if self._checkpoints is not None and content.call is None:
            self._waiting.add(content, len(data))
            self._plan()
        return data

    def parts(self, *, whole: bool) -> list[messages_pb2.Part]:
        """All of it, neighbours of one kind joined. Tool calls only where the answer is `whole`."""
        return self._pieces.parts(calls=whole)

    async def settle(self) -> None:
        """Wait for the checkpoint being written; none begins afterwards. Raises what one raised."""
        self._checkpoints = None
        await self._quiet()

    async def restart(self) -> None:
        """Forget what came: another model begins anew."""
        self._pieces, self._waiting = _Pieces(), _Pieces()
        await self._quiet()
        if self._checkpoints is not None:
            await self._checkpoints.restart()

    async def _quiet(self) -> None:
        self._stop_timer()
        if self._writing is not None:
            await self._writing

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _plan(self) -> None:
        if self._waiting.size >= CHECKPOINT_BYTES:
            self._write()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CHECKPOINT_S, self._write)

    def _write(self) -> None:
        self._stop_timer()
        if self._checkpoints is None or self._is_stuck():
            return
        waiting, self._waiting = self._waiting, _Pieces()
        self._writing = asyncio.create_task(self._checkpoints.checkpoint(waiting.parts(calls=False)))
        self._writing.add_done_callback(self._written)

    def _is_stuck(self) -> bool:
        """Whether the last checkpoint is being written, or failed: then the end tells of it."""
        return self._writing is not None and (
            not self._writing.done() or self._writing.exception() is not None
        )

    def _written(self, _: asyncio.Task[None]) -> None:
        if self._waiting.size and not self._is_stuck():
            self._plan()


class _Pieces:
    """Neighbours of one kind are joined as they come: many tokens cost no more than their text.

    The pieces of a tool call are joined wherever they come: several can be written at the same time.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[ContentKind, ToolCall | None, io.StringIO]] = []
        self._calls: dict[ToolCall, io.StringIO] = {}
        self.size = 0

    @property
    def begun(self) -> bool:
        return bool(self._runs)

    def add(self, content: Content, size: int) -> None:
        self._text(content.kind, content.call).write(content.text)
        self.size += size

    def _text(self, kind: ContentKind, call: ToolCall | None) -> io.StringIO:
        if call is not None and call in self._calls:
            return self._calls[call]
        if not self._runs or self._runs[-1][:2] != (kind, call):
            self._runs.append((kind, call, io.StringIO()))
            if call is not None:
                self._calls[call] = self._runs[-1][2]
        return self._runs[-1][2]

    def parts(self, *, calls: bool) -> list[messages_pb2.Part]:
        return [_part(kind, call, text.getvalue()) for kind, call, text in self._runs if calls or not call]


def _part(kind: ContentKind, call: ToolCall | None, text: str) -> messages_pb2.Part:
    if call is not None:
        named = messages_pb2.ToolCallPart(call_id=call.call_id, name=call.name, arguments_json=text or "{}")
        return messages_pb2.Part(tool_call=named)
    return messages_pb2.Part(text=text) if kind is ContentKind.TEXT else messages_pb2.Part(reasoning=text)


class Stopwatch:
    """Runs from the request's arrival."""

    def __init__(self) -> None:
        self._received = time.monotonic()
        self._started: float | None = None
        self._first: float | None = None
        self._waited = 0.0

    def start(self) -> None:
        """The turn has come."""
        self._started = time.monotonic()

    def waited(self, since_s: float) -> None:
        """The turn waited for a place at a model, since this moment: before content that is queueing."""
        if self._first is None:
            self._waited += time.monotonic() - since_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since the request's arrival."""
        return time.monotonic() - self._received

    @property
    def first_token_s(self) -> float | None:
        """Seconds from the turn's start to the first content, less the waits for a place. None: none came."""
        if self._first is None or self._started is None:
            return None
        return self._first - self._started - self._waited

    def tokens_per_second(self, output_tokens: int | None) -> float | None:
        """How fast the answer has come since its first content. None: not known."""
        spent_s = 0.0 if self._first is None else time.monotonic() - self._first
        return output_tokens / spent_s if output_tokens and spent_s > 0 else None

    def content(self) -> None:
        """Content has come; only the first counts."""
        if self._first is None:
            self._first = time.monotonic()

    def timings(self, output_tokens: int | None) -> messages_pb2.Timings:
        """Return what was measured up to now."""
        now = time.monotonic()
        started = (self._started if self._started is not None else now) + self._waited
        result = messages_pb2.Timings(
            queued=_duration(started - self._received), total=_duration(now - self._received)
        )
        if self.first_token_s is not None:
            result.time_to_first_token.CopyFrom(_duration(self.first_token_s))
            result.tokens_per_second = self.tokens_per_second(output_tokens) or 0.0
        return result


def _duration(seconds: float) -> Duration:
    result = Duration()
    result.FromMicroseconds(round(seconds * 1e6))
    return result


_NOTHING_TO_KEEP = (messages_pb2.MESSAGE_STATUS_CANCELLED, messages_pb2.MESSAGE_STATUS_FAILED)
"""An answer that ended so before anything of it came leaves no message: whoever waited was told."""


class TurnRecorder:
    """An answer while it comes. Without a turn nothing of it is kept."""

    def __init__(self, watch: Stopwatch) -> None:
        self.turn: Turn | None = None
        self.hook: Hook | None = None
        """The model that answers; None before one did."""
        self.decision = routing_pb2.RoutingDecision()
        """Why that model."""
        self.failed: list[executions_pb2.FailedAttempt] = []
        """What was tried before, in order."""
        self._answer = Answer(None)
        self._watch = watch

    def begin(self, turn: Turn) -> None:
        """Its turn has begun: what comes from now on is kept in it."""
        # The question is on disk, and in the request: here its ids are enough.
        turn.input = [
            messages_pb2.Message(id=message.id, sequence=message.sequence) for message in turn.input
        ]
        self.turn = turn
        self._answer = Answer(turn)

    @property
    def model(self) -> str:
        """provider:name of the model that answers; empty before one did."""
        return self.hook.id if self.hook else ""

    @property
    def size(self) -> int:
        """Bytes of UTF-8 so far."""
        return self._answer.size

    @property
    def is_full(self) -> bool:
        """Whether no more of the answer fits."""
        return self._answer.is_full

    @property
    def question_ids(self) -> list[str]:
        """The ids of the input as it was recorded."""
        return [message.id for message in self.turn.input] if self.turn else []

    def take(self, content: Content) -> bytes:
        """Take in the next piece of the answer, or what fits of it, and return that as UTF-8."""
        self._watch.content()
        return self._answer.add(content)

    async def restart(self) -> None:
        """Forget what came: another model begins anew."""
        await self._answer.restart()

    def message(
        self, status: messages_pb2.MessageStatus.ValueType, finished: Finished | None = None
    ) -> messages_pb2.Message:
        """Return the answer as it stands; `finished` where it came to its end."""
        message = messages_pb2.Message(
            role=messages_pb2.ROLE_ASSISTANT,
            parts=self._answer.parts(whole=finished is not None),
            status=status,
            model=self.model,
            decision=self.decision,
            timings=self._watch.timings(finished.counts.output_tokens if finished else None),
        )
        if finished:
            self._tell(message, finished)
        return message

    def _tell(self, message: messages_pb2.Message, finished: Finished) -> None:
        """Write down what the model's server told at the end."""
        message.decision.adaptations.extend(finished.adaptations)
        for name, count in asdict(finished.counts).items():
            if count is not None:
                setattr(message.usage, name, count)
        if finished.state and self.hook is not None:
            author = self.hook.connection.author
            message.provider_state.CopyFrom(messages_pb2.ProviderState(author=author, json=finished.state))

    async def keep(self, message: messages_pb2.Message, outcome: Outcome) -> messages_pb2.Message:
        """End the turn with this answer, and return it as it was recorded."""
        if self.turn is None:
            return message
        if self._leaves_nothing(message.status):
            await self.turn.abandon(outcome)
            return message
        try:
            await self._answer.settle()
        finally:
            message = await self.turn.finish(message, outcome)
        return message

    def where(self, status: messages_pb2.MessageStatus.ValueType) -> dict[str, object]:
        """Return what an error tells of what is kept of an answer that ends so."""
        if self.turn is None:
            return {"session_id": "", "message_id": "", "kept_bytes": 0}
        return {
            "session_id": self.turn.session.id,
            "message_id": self.turn.input[-1].id,
            "answer_id": "" if self._leaves_nothing(status) else self.turn.answer_id,
            "kept_bytes": self.size,
        }

    def _leaves_nothing(self, status: messages_pb2.MessageStatus.ValueType) -> bool:
        return not self._answer.begun and status in _NOTHING_TO_KEEP
