"""One execution: a turn of a conversation, or a single prompt that is not recorded.

It belongs to the daemon. Streams attach to its log; it ends by itself, whether
anybody listens or not, unless it is stopped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import dataclass

from oblix.v1 import executions_pb2 as pb
from oblix.v1 import messages_pb2

from oblixd.errors import InternalError, NotFoundError, OblixdError, UnavailableError
from oblixd.execution import context, failures, route
from oblixd.execution.answer import Answer
from oblixd.execution.fallback import answers
from oblixd.execution.log import EventLog
from oblixd.execution.requests import options
from oblixd.execution.scope import Stop, Stopped, StopScope
from oblixd.execution.stopwatch import Stopwatch
from oblixd.execution.turns import TurnQueue
from oblixd.models.base import ChatRequest, Content, ContentKind, Finish, Finished, ModelError
from oblixd.models.registry import Hook
from oblixd.sessions import Sessions, Turn

_log = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 8 << 20
"""An answer that reaches this ends with FINISH_REASON_LENGTH."""

_KIND = {ContentKind.TEXT: pb.DELTA_KIND_TEXT, ContentKind.REASONING: pb.DELTA_KIND_REASONING}
_FINISH = {
    Finish.STOP: pb.FINISH_REASON_STOP,
    Finish.LENGTH: pb.FINISH_REASON_LENGTH,
    Finish.TOOL_CALLS: pb.FINISH_REASON_TOOL_CALLS,
    Finish.CONTENT_FILTER: pb.FINISH_REASON_CONTENT_FILTER,
}
_NOTHING_TO_KEEP = (messages_pb2.MESSAGE_STATUS_CANCELLED, messages_pb2.MESSAGE_STATUS_FAILED)
"""An answer that ended so before anything of it came leaves no message: whoever waited was told."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """What an execution works with."""

    sessions: Sessions
    monitor: route.Snapshots
    turns: TurnQueue


class Execution:
    """Make one, then run it as a task of its own."""

    def __init__(self, request: pb.ExecuteRequest, hooks: Sequence[Hook], rooms: Rooms) -> None:
        self.request = request
        """As it was checked; its request_id is set."""
        self.state = pb.EXECUTION_STATE_QUEUED
        self.created_s = time.time()
        self.ended_s: float | None = None
        """Monotonic; None while it waits or runs."""
        self.log = EventLog()
        self.attached = 0
        """Streams that read it now."""
        self.model = ""
        """provider:name of the model that answers; empty before one was chosen."""
        self._hooks = hooks
        self._rooms = rooms
        self._scope = StopScope()
        self._watch = Stopwatch()
        self._failed: list[pb.FailedAttempt] = []
        self._context = pb.ContextReport()
        self._turn: Turn | None = None
        self._started = pb.ExecutionStarted()

    def stop(self, stop: Stop) -> None:
        """Stop it: what has come of the answer is kept."""
        self._scope.request(stop)

    async def run(self) -> None:
        """Run to the end. Raises nothing: how it ended is in the log."""
        error: OblixdError | None = None
        try:
            async with self._queue():
                self.state = pb.EXECUTION_STATE_RUNNING
                await self._run_turn()
        except Stopped as stopped:
            error = self._end_unstarted(stopped.stop)
        except OblixdError as problem:
            error = problem
        except Exception as problem:  # noqa: BLE001 - those who are attached must hear of any end
            _log.exception("execution %s failed", self.request.request_id)
            error = InternalError("INTERNAL", f"A defect in oblixd: {problem!r}. The log has the details.")
        if error is not None:
            self.state = pb.EXECUTION_STATE_FAILED
        self.ended_s = time.monotonic()
        self.log.end(error)

    def _queue(self) -> AbstractAsyncContextManager[None]:
        if not self.request.session_id:
            return nullcontext()
        return self._rooms.turns.turn(self.request.session_id, self._scope, self._tell_place)

    def _tell_place(self, place: int) -> None:
        queued = pb.ExecutionQueued(place=place, request_id=self.request.request_id)
        self.log.append(pb.ExecuteResponse(queued=queued))

    async def _run_turn(self) -> None:
        self._watch.start()
        request, sessions = self.request, self._rooms.sessions
        session = sessions.get(request.session_id) if request.session_id else None
        local_only = session is not None and session.local_only
        decision = route.route(request, local_only, self._hooks, self._rooms.monitor.latest())
        ranked = route.ranked(decision, self._hooks)
        if session is not None:
            self._turn = await sessions.begin_turn(request.session_id, request.request_id, request.input)
        self._started = pb.ExecutionStarted(
            request_id=request.request_id,
            session_id=request.session_id,
            message_ids=[message.id for message in self._turn.input] if self._turn else [],
            decision=route.to_wire(decision, self._hooks),
            agent_checks=request.agent_checks,
        )
        self.log.append(pb.ExecuteResponse(started=self._started))
        await self._answer(ranked)

    async def _answer(self, ranked: Sequence[Hook]) -> None:
        answer = Answer(self._turn)
        try:
            with self._scope:
                finished = await self._stream(ranked, answer)
        except Stopped as stopped:
            await self._end_stopped(answer, stopped.stop)
        except ModelError as error:
            message = await self._keep(answer, messages_pb2.MESSAGE_STATUS_FAILED)
            raise failures.to_client(error, self._failed, **self._where(message, answer)) from error
        except Exception:
            await self._keep(answer, messages_pb2.MESSAGE_STATUS_FAILED)
            raise
        else:
            message = await self._keep(answer, messages_pb2.MESSAGE_STATUS_COMPLETE, finished)
            self._complete(message, _FINISH[finished.reason])

    async def _stream(self, ranked: Sequence[Hook], answer: Answer) -> Finished:
        async with aclosing(answers(ranked, self._chat_request, self._failed)) as stream:
            async for hook, item in stream:
                self.model = hook.id
                if isinstance(item, Finished):
                    return item
                self._take(item, answer)
                if answer.size >= MAX_ANSWER_BYTES:
                    return Finished(Finish.LENGTH)
        raise AssertionError("a stream ends with Finished or raises")

    def _take(self, content: Content, answer: Answer) -> None:
        self._watch.content()
        self.log.append_text(_KIND[content.kind], answer.add(content))

    def _chat_request(self, hook: Hook) -> ChatRequest:
        turn, request = self._turn, self.request
        history = self._rooms.sessions.history(request.session_id, turn.input[0].sequence) if turn else ()
        chat, self._context = context.build(
            context.system_text(turn.session) if turn else "",
            history,
            request.input,
            options(request.options),
            hook.connection.context_window,
        )
        return chat

    async def _keep(
        self, answer: Answer, status: messages_pb2.MessageStatus.ValueType, finished: Finished | None = None
    ) -> messages_pb2.Message:
        message = self._message(answer, status, finished)
        if self._turn is None:
            return message
        if not answer.size and status in _NOTHING_TO_KEEP:
            await self._turn.abandon()
            return message
        try:
            await answer.settle()
        finally:
            message = await self._turn.finish(message)
        return message

    def _message(
        self, answer: Answer, status: messages_pb2.MessageStatus.ValueType, finished: Finished | None
    ) -> messages_pb2.Message:
        message = messages_pb2.Message(
            role=messages_pb2.ROLE_ASSISTANT,
            parts=answer.parts(),
            status=status,
            model=self.model,
            request_id=self.request.request_id,
            decision=self._started.decision,
            timings=self._watch.timings(finished.output_tokens if finished else None),
        )
        if finished and finished.input_tokens is not None:
            message.usage.input_tokens = finished.input_tokens
        if finished and finished.output_tokens is not None:
            message.usage.output_tokens = finished.output_tokens
        return message

    async def _end_stopped(self, answer: Answer, stop: Stop) -> None:
        interrupted = stop is Stop.INTERRUPTED
        status = (
            messages_pb2.MESSAGE_STATUS_INTERRUPTED if interrupted else messages_pb2.MESSAGE_STATUS_CANCELLED
        )
        try:
            message = await self._keep(answer, status)
        except NotFoundError:
            # The session was deleted under the answer: there is nowhere left to keep it.
            message = self._message(answer, status, None)
        if interrupted:
            raise _interrupted(**self._where(message, answer))
        self._complete(message, pb.FINISH_REASON_CANCELLED)

    def _end_unstarted(self, stop: Stop) -> OblixdError | None:
        if stop is Stop.INTERRUPTED:
            return _interrupted(session_id=self.request.session_id, message_id="", kept_bytes=0)
        self._complete(messages_pb2.Message(), pb.FINISH_REASON_CANCELLED)
        return None

    def _complete(self, message: messages_pb2.Message, reason: pb.FinishReason.ValueType) -> None:
        cancelled = reason == pb.FINISH_REASON_CANCELLED
        self.state = pb.EXECUTION_STATE_CANCELLED if cancelled else pb.EXECUTION_STATE_COMPLETED
        completed = pb.ExecutionCompleted(
            request_id=self.request.request_id,
            session_id=self.request.session_id,
            message=message,
            finish_reason=reason,
            failed_attempts=self._failed,
            context=self._context,
        )
        self.log.append(pb.ExecuteResponse(completed=completed))

    def _where(self, message: messages_pb2.Message, answer: Answer) -> dict[str, object]:
        if self._turn is None:
            return {"session_id": "", "message_id": "", "kept_bytes": 0}
        question = self._turn.input[-1].id
        return {
            "session_id": self.request.session_id,
            "message_id": question,
            "answer_id": message.id,
            "kept_bytes": answer.size,
        }


def _interrupted(**where: object) -> UnavailableError:
    message = "oblixd ended before the answer did. What had come is kept; send the prompt again to go on."
    return UnavailableError("EXECUTION_INTERRUPTED", message, **where)
