"""One execution: a turn of a conversation, or a single prompt that is not recorded.

It belongs to the daemon. Streams attach to its log; it ends by itself, whether
anybody listens or not, unless it is stopped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext, suppress
from dataclasses import dataclass, replace

from oblix.v1 import executions_pb2 as pb
from oblix.v1 import messages_pb2, sessions_pb2

from oblixd.errors import InternalError, NotFoundError, OblixdError, UnavailableError
from oblixd.execution import context, failures, route
from oblixd.execution.fallback import Fallback, Restart
from oblixd.execution.log import EventLog
from oblixd.execution.recording import Recording
from oblixd.execution.requests import options, tool_choice, tools
from oblixd.execution.scope import Stop, Stopped, StopScope
from oblixd.execution.stopwatch import Stopwatch
from oblixd.execution.turns import TurnQueue
from oblixd.models.base import ChatRequest, Content, ContentKind, Finish, Finished, ModelError
from oblixd.models.registry import Hook
from oblixd.sessions import Sessions

_log = logging.getLogger(__name__)

MAX_SEQUENCE = 2**63 - 1
MAX_ANSWER_BYTES = 8 << 20
"""An answer that reaches this ends with FINISH_REASON_LENGTH."""

_KIND = {
    ContentKind.TEXT: pb.DELTA_KIND_TEXT,
    ContentKind.REASONING: pb.DELTA_KIND_REASONING,
    ContentKind.TOOL_CALL: pb.DELTA_KIND_TOOL_CALL,
}
_FINISH = {
    Finish.STOP: pb.FINISH_REASON_STOP,
    Finish.LENGTH: pb.FINISH_REASON_LENGTH,
    Finish.TOOL_CALLS: pb.FINISH_REASON_TOOL_CALLS,
    Finish.CONTENT_FILTER: pb.FINISH_REASON_CONTENT_FILTER,
}
_STOPPED = {
    Stop.CANCELLED: messages_pb2.MESSAGE_STATUS_CANCELLED,
    Stop.INTERRUPTED: messages_pb2.MESSAGE_STATUS_INTERRUPTED,
}


@dataclass(frozen=True, slots=True)
class Rooms:
    """What an execution works with."""

    sessions: Sessions
    router: route.Router
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
        self._recording = Recording(None)
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
        local_only = request.local_only or (session is not None and session.local_only)
        decision = self._rooms.router.route(request, local_only, self._hooks, self._too_short(session))
        ranked = route.ranked(decision, self._hooks)
        if session is not None:
            turn = await sessions.begin_turn(request.session_id, request.request_id, request.input)
            self._recording = Recording(turn)
        self._started = pb.ExecutionStarted(
            request_id=request.request_id,
            session_id=request.session_id,
            message_ids=self._recording.question_ids,
            decision=route.to_wire(decision, self._hooks),
            agent_checks=request.agent_checks,
        )
        self.log.append(pb.ExecuteResponse(started=self._started))
        await self._answer(self._fallback(ranked, local_only))

    def _too_short(self, session: sessions_pb2.Session | None) -> Callable[[Hook], bool] | None:
        """Says of a model that its window is too short, where the request asks for a longer one then."""
        if self.request.context_policy != pb.CONTEXT_POLICY_LONGER:
            return None
        material = self._material(session, MAX_SEQUENCE)
        needed = material.tokens()
        return lambda hook: not context.fits(material, needed, hook.connection.context_window)

    def _fallback(self, ranked: Sequence[Hook], local_only: bool) -> Fallback:
        restarts = self.request.on_break == pb.ON_BREAK_RESTART
        cooldowns = self._rooms.router.cooldowns
        return Fallback(ranked, self._chat_request, cooldowns, restarts, local_only, self._failed)

    async def _answer(self, fallback: Fallback) -> None:
        keep = self._recording.keep
        try:
            with self._scope:
                finished = await self._stream(fallback)
        except Stopped as stopped:
            await self._end_stopped(stopped.stop)
        except ModelError as error:
            kept = await keep(self._message(messages_pb2.MESSAGE_STATUS_FAILED))
            raise failures.to_client(error, self._failed, **self._recording.where(kept)) from error
        except Exception:
            await keep(self._message(messages_pb2.MESSAGE_STATUS_FAILED))
            raise
        else:
            kept = await keep(self._message(messages_pb2.MESSAGE_STATUS_COMPLETE, finished))
            self._complete(kept, _FINISH[finished.reason])

    async def _stream(self, fallback: Fallback) -> Finished:
        async with aclosing(fallback.answer()) as stream:
            async for hook, item in stream:
                self.model = hook.id
                if isinstance(item, Finished):
                    return item
                if isinstance(item, Restart):
                    await self._restart(item)
                elif self._take(item) >= MAX_ANSWER_BYTES:
                    return Finished(Finish.LENGTH)
        raise AssertionError("a stream ends with Finished or raises")

    def _take(self, content: Content) -> int:
        self._watch.content()
        answer, call = self._recording.answer, content.call
        head = pb.ToolCallHead(call_id=call.call_id, name=call.name) if call else None
        self.log.append_text(_KIND[content.kind], answer.add(content), head)
        return answer.size

    async def _restart(self, restart: Restart) -> None:
        await self._recording.answer.restart()
        rerouted = pb.ExecutionRerouted(
            from_model=restart.from_model,
            to_model=restart.to_model,
            reason=restart.error.kind.value,
            detail=restart.error.message,
        )
        self.log.append(pb.ExecuteResponse(rerouted=rerouted))

    def _chat_request(self, hook: Hook) -> ChatRequest:
        turn, request = self._recording.turn, self.request
        before = turn.input[0].sequence if turn else 0
        refuse = request.context_policy == pb.CONTEXT_POLICY_REFUSE
        material = self._material(turn.session if turn else None, before)
        chat, self._context = context.build(material, hook.connection.context_window, refuse=refuse)
        return replace(chat, tools=tools(request), tool_choice=tool_choice(request))

    def _material(self, session: sessions_pb2.Session | None, before: int) -> context.Material:
        request, sessions = self.request, self._rooms.sessions
        return context.Material(
            system=context.system_text(session) if session else "",
            history=lambda: sessions.history(request.session_id, before) if session else (),
            given=request.input,
            options=options(request.options),
        )

    def _message(
        self, status: messages_pb2.MessageStatus.ValueType, finished: Finished | None = None
    ) -> messages_pb2.Message:
        message = messages_pb2.Message(
            role=messages_pb2.ROLE_ASSISTANT,
            parts=self._recording.answer.parts(whole=finished is not None),
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

    async def _end_stopped(self, stop: Stop) -> None:
        message = self._message(_STOPPED[stop])
        # A session that was deleted under the answer has no place left to keep it.
        with suppress(NotFoundError):
            message = await self._recording.keep(message)
        if stop is Stop.INTERRUPTED:
            raise _interrupted(**self._recording.where(message))
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


def _interrupted(**where: object) -> UnavailableError:
    message = "oblixd ended before the answer did. What had come is kept; send the prompt again to go on."
    return UnavailableError("EXECUTION_INTERRUPTED", message, **where)
