"""An answer while it is being written: what has come so far, and its checkpoints.

A checkpoint is due 250 ms after something came, or when 4 KiB wait, whichever
is first. Checkpoints are written one after another, beside the stream: the
stream never waits for the disk.

`TurnRecorder` has the answer of an execution, and its turn on disk if it has a session.
`Stopwatch` measures how long the answer takes, on the monotonic clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import fields
from typing import Protocol

from oblix.v1 import executions_pb2, messages_pb2, routing_pb2

from oblixd.execution.event_log import KIND, EventLog, LogText, head
from oblixd.models import Content, Finished, Hook
from oblixd.protobuf_time import duration
from oblixd.sessions import ExtraWrite, Turn, TurnCompletion

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
    """What a model says, in the log of its execution: that alone holds the text.

    Without checkpoints nothing is kept on the way.
    """

    def __init__(self, log: EventLog, checkpoints: Checkpoints | None) -> None:
        self._log = log
        self._checkpoints = checkpoints
        self._begin_position = self._write_position = log.next_position()
        self._size_before = log.size
        self._pending_bytes = 0
        """Bytes that no checkpoint has yet."""
        self._timer: asyncio.TimerHandle | None = None
        self._write_task: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """Bytes of UTF-8 so far."""
        return self._log.size - self._size_before

    @property
    def has_begun(self) -> bool:
        """Whether anything has come, be it the mere name of a tool."""
        return next(self._log.texts(self._begin_position), None) is not None

    @property
    def is_full(self) -> bool:
        """Whether no more fits. What is cut is cut between characters, so a few bytes may be left."""
        return self.size > MAX_ANSWER_BYTES - _LONGEST_CHARACTER

    def add(self, content: Content) -> None:
        """Take in the next piece, or what fits of it."""
        data = content.text.encode()
        room = MAX_ANSWER_BYTES - self.size
        if len(data) > room:
            data = data[:room].decode(errors="ignore").encode()
        self._log.append_text(KIND[content.kind], data, head(content))
        # Half a tool call is of no use to whoever finds it after a crash.
        if self._checkpoints is not None and content.call is None:
            self._pending_bytes += len(data)
            self._schedule_write()

    def parts(self, *, whole: bool) -> list[messages_pb2.Part]:
        """Return all parts, neighbours of one kind joined. Tool calls only if the answer is `whole`."""
        return _parts(self._log.texts(self._begin_position), calls=whole)

    async def settle(self) -> None:
        """Wait for the checkpoint being written; none begins afterwards. Raises what one raised."""
        self._checkpoints = None
        await self._finish_writing()

    async def restart(self) -> None:
        """Forget what came: another model begins anew. The log is told so before more text comes."""
        self._begin_position = self._write_position = self._log.next_position()
        self._size_before, self._pending_bytes = self._log.size, 0
        await self._finish_writing()
        if self._checkpoints is not None:
            await self._checkpoints.restart()

    async def _finish_writing(self) -> None:
        self._stop_timer()
        if self._write_task is not None:
            await self._write_task

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule_write(self) -> None:
        if self._pending_bytes >= CHECKPOINT_BYTES:
            self._write()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CHECKPOINT_S, self._write)

    def _write(self) -> None:
        self._stop_timer()
        if self._checkpoints is None or self._is_stuck():
            return
        parts = _parts(self._log.texts(self._write_position), calls=False)
        self._write_position, self._pending_bytes = self._log.end_position(), 0
        self._write_task = asyncio.create_task(self._checkpoints.checkpoint(parts))
        self._write_task.add_done_callback(self._after_write)

    def _is_stuck(self) -> bool:
        """Return whether the last checkpoint is being written, or failed: then the end tells of it."""
        return self._write_task is not None and (
            not self._write_task.done() or self._write_task.exception() is not None
        )

    def _after_write(self, _: asyncio.Task[None]) -> None:
        if self._pending_bytes and not self._is_stuck():
            self._schedule_write()


def _parts(texts: Iterable[tuple[LogText, bytes]], *, calls: bool) -> list[messages_pb2.Part]:
    """Return pieces as the parts of a message.

    The pieces of a tool call are joined wherever they came: several can be written at the same time.
    """
    runs: list[tuple[LogText, list[bytes]]] = []
    by_call: dict[str, list[bytes]] = {}
    for text, data in texts:
        if text.call is None:
            runs.append((text, [data] if data else []))
        elif text.call.call_id in by_call:
            by_call[text.call.call_id].append(data)
        else:
            runs.append((text, by_call.setdefault(text.call.call_id, [data])))
    return [
        _part(text, b"".join(pieces).decode())
        for text, pieces in runs
        if pieces and (calls or text.call is None)
    ]


def _part(piece: LogText, text: str) -> messages_pb2.Part:
    if (call := piece.call) is not None:
        named = messages_pb2.ToolCallPart(call_id=call.call_id, name=call.name, arguments_json=text or "{}")
        return messages_pb2.Part(tool_call=named)
    if piece.kind == executions_pb2.DELTA_KIND_REASONING:
        return messages_pb2.Part(reasoning=text)
    return messages_pb2.Part(text=text)


class Stopwatch:
    """Runs from the request's arrival."""

    def __init__(self) -> None:
        self._arrival_s = time.monotonic()
        self._start_s: float | None = None
        self._first_content_s: float | None = None
        self._wait_s = 0.0

    def start(self) -> None:
        """Note that the turn has come."""
        self._start_s = time.monotonic()

    def add_wait(self, since_s: float) -> None:
        """Note a wait for a slot at a model since this moment: before content that is queueing."""
        if self._first_content_s is None:
            self._wait_s += time.monotonic() - since_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since the request's arrival."""
        return time.monotonic() - self._arrival_s

    @property
    def first_token_s(self) -> float | None:
        """Seconds from the turn's start to the first content, less the waits for a slot. None: none came."""
        if self._first_content_s is None or self._start_s is None:
            return None
        return self._first_content_s - self._start_s - self._wait_s

    def tokens_per_second(self, output_tokens: int | None) -> float | None:
        """Return how fast the answer has come since its first content. None: unknown."""
        spent_s = 0.0 if self._first_content_s is None else time.monotonic() - self._first_content_s
        return output_tokens / spent_s if output_tokens and spent_s > 0 else None

    def content(self) -> None:
        """Content has come; only the first counts."""
        if self._first_content_s is None:
            self._first_content_s = time.monotonic()

    def timings(self, output_tokens: int | None) -> messages_pb2.Timings:
        """Return what was measured up to now."""
        now = time.monotonic()
        started = (self._start_s if self._start_s is not None else now) + self._wait_s
        result = messages_pb2.Timings(
            queued=duration(started - self._arrival_s), total=duration(now - self._arrival_s)
        )
        if self.first_token_s is not None:
            result.time_to_first_token.CopyFrom(duration(self.first_token_s))
            result.tokens_per_second = self.tokens_per_second(output_tokens) or 0.0
        return result


_NOTHING_TO_KEEP = (messages_pb2.MESSAGE_STATUS_CANCELLED, messages_pb2.MESSAGE_STATUS_FAILED)
"""An answer that ended so before anything of it came leaves no message: whoever waited was told."""


class TurnRecorder:
    """An answer while it comes. Without a turn nothing of it is kept."""

    def __init__(self, log: EventLog, watch: Stopwatch) -> None:
        self.turn: Turn | None = None
        self.hook: Hook | None = None
        """The model that answers; None before one did."""
        self.decision = routing_pb2.RoutingDecision()
        """Why that model."""
        self.failed_attempts: list[executions_pb2.FailedAttempt] = []
        """What was tried before, in order."""
        self._log = log
        self._answer = Answer(log, None)
        self._watch = watch

    def begin(self, turn: Turn) -> None:
        """Note that its turn has begun: content from now on is kept in it."""
        # The question is on disk, and in the request: here its ids are enough.
        turn.input = [
            messages_pb2.Message(id=message.id, sequence=message.sequence) for message in turn.input
        ]
        self.turn = turn
        self._answer = Answer(self._log, turn)

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

    def take(self, hook: Hook, content: Content) -> None:
        """Take in the next piece of a model's answer, or what fits of it."""
        self.hook = hook
        self._watch.content()
        self._answer.add(content)

    async def restart(self, hook: Hook) -> None:
        """Forget what came: this model begins anew."""
        self.hook = hook
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
            self._add_report(message, finished)
        return message

    def _add_report(self, message: messages_pb2.Message, finished: Finished) -> None:
        """Add what the model's server reported at the end."""
        message.decision.adaptations.extend(finished.adaptations)
        for count in fields(finished.counts):
            if (value := getattr(finished.counts, count.name)) is not None:
                setattr(message.usage, count.name, value)
        if finished.state and self.hook is not None:
            author = self.hook.connection.author
            message.provider_state.CopyFrom(messages_pb2.ProviderState(author=author, json=finished.state))

    async def end_turn(
        self,
        message: messages_pb2.Message,
        completion: TurnCompletion,
        extra_write: ExtraWrite | None,
        *,
        gathers: bool,
    ) -> messages_pb2.Message:
        """End the turn with this answer, and return it as it was recorded. `gathers`: see `Store.write`."""
        if self.turn is None:
            return message
        if self._leaves_nothing(message.status):
            await self.turn.abandon(completion, extra_write)
            return message
        try:
            await self._answer.settle()
        finally:
            message = await self.turn.finish(message, completion, extra_write, gathers=gathers)
        return message

    def error_details(self, status: messages_pb2.MessageStatus.ValueType) -> dict[str, object]:
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
        return not self._answer.has_begun and status in _NOTHING_TO_KEEP
