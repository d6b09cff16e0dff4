"""One execution: a turn of a conversation, or a single prompt that is not recorded.

It belongs to the daemon. Streams attach to its log; it ends by itself, whether
anybody listens or not, unless it is stopped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass

from oblix.v1 import executions_pb2 as pb
from oblix.v1 import messages_pb2, sessions_pb2

from oblixd.errors import NotFoundError, OblixdError
from oblixd.execution import failures, route
from oblixd.execution.billing import Billing
from oblixd.execution.briefing import Briefing
from oblixd.execution.caller import Caller
from oblixd.execution.fallback import Fallback, Restart
from oblixd.execution.log import EventLog
from oblixd.execution.places import Places, Priority, Ticket
from oblixd.execution.recording import Recording
from oblixd.execution.requests import fingerprint
from oblixd.execution.scope import Stop, Stopped, StopScope
from oblixd.execution.stopwatch import Stopwatch
from oblixd.execution.tokens import Corrections
from oblixd.execution.turns import TurnQueue
from oblixd.models.base import Content, ContentKind, Finish, Finished, ModelError
from oblixd.models.registry import Hook
from oblixd.sessions import Outcome, Sessions
from oblixd.usage import Usage

_log = logging.getLogger(__name__)

_COMPLETE = messages_pb2.MESSAGE_STATUS_COMPLETE
_FAILED = messages_pb2.MESSAGE_STATUS_FAILED
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
    Stop.EXPIRED: _FAILED,
}


@dataclass(frozen=True, slots=True)
class Rooms:
    """What an execution works with."""

    sessions: Sessions
    router: route.Router
    turns: TurnQueue
    places: Places
    corrections: Corrections
    usage: Usage


class Execution:
    """Make one, then run it as a task of its own."""

    def __init__(
        self, request: pb.ExecuteRequest, caller: Caller, hooks: Sequence[Hook], rooms: Rooms
    ) -> None:
        self.request = request
        """As it was checked; its request_id is set."""
        self.caller = caller
        """Who sent it."""
        self.state = pb.EXECUTION_STATE_QUEUED
        self.created_s = time.time()
        self.ended_s: float | None = None
        """Monotonic; None while it waits or runs."""
        self.log = EventLog()
        self.attached = 0
        """Streams that read it now."""
        self.place = 0
        """Its place among those that wait for the same; 0 while it does not wait."""
        self.waits_for = ""
        """provider:name of the model that it waits for; empty: for its session's turn, or not at all."""
        self.begun = False
        """Whether its turn has begun: what fails before that leaves nothing behind."""
        self._hooks = hooks
        self._rooms = rooms
        self._scope = StopScope()
        self._watch = Stopwatch()
        self._failed: list[pb.FailedAttempt] = []
        self._recording = Recording(self._watch)
        self._briefing = Briefing(request, self._session(), rooms.sessions, rooms.corrections)
        self._billing = Billing(rooms.usage, request, caller)

    @property
    def model(self) -> str:
        """provider:name of the model that answers; empty before one was chosen."""
        return self._recording.model

    def stop(self, stop: Stop) -> None:
        """Stop it: what has come of the answer is kept."""
        self._scope.request(stop)

    async def run(self) -> None:
        """Run to the end. Raises nothing: how it ended is in the log."""
        error: OblixdError | None = None
        try:
            with self._expiry():
                async with self._turn():
                    await self._run_turn()
        except Stopped as stopped:
            error = self._end_unstarted(stopped.stop)
        except OblixdError as problem:
            error = problem
        except Exception as problem:  # noqa: BLE001 - those who are attached must hear of any end
            _log.exception("execution %s failed", self.request.request_id)
            error = failures.defect(problem)
        if error is not None:
            self.state = pb.EXECUTION_STATE_FAILED
        self.place, self.waits_for, self.ended_s = 0, "", time.monotonic()
        self.log.end(error)

    @contextmanager
    def _expiry(self) -> Generator[None, None, None]:
        if not self.request.HasField("timeout"):
            yield
            return
        timeout_s = self.request.timeout.ToTimedelta().total_seconds()
        timer = asyncio.get_running_loop().call_later(timeout_s, self.stop, Stop.EXPIRED)
        try:
            yield
        finally:
            timer.cancel()

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None, None]:
        """Wait for the session's turn and hold it."""
        session_id, waits = self.request.session_id, self.request.when_busy != pb.WHEN_BUSY_FAIL
        if not session_id:
            yield
            return
        async with self._rooms.turns.turn(session_id, self._scope, self._tell_place, waits=waits):
            yield

    @asynccontextmanager
    async def _place_at(self, hook: Hook) -> AsyncGenerator[None, None]:
        """Wait for a place at a model and hold it."""
        priority = Priority(self.request.priority or pb.PRIORITY_INTERACTIVE)
        ticket = Ticket(self.caller.name, priority, lambda place: self._tell_place(place, hook.id))
        since_s = time.monotonic()
        async with self._rooms.places.place(hook.backend, hook.connection.max_running, ticket):
            self._watch.waited(since_s)
            self._go_on()
            yield

    def _tell_place(self, place: int, model: str = "") -> None:
        self.state, self.place, self.waits_for = pb.EXECUTION_STATE_QUEUED, place, model
        queued = pb.ExecutionQueued(place=place, request_id=self.request.request_id, model=model)
        self.log.append(pb.ExecuteResponse(queued=queued))

    def _go_on(self) -> None:
        self.state, self.place, self.waits_for = pb.EXECUTION_STATE_RUNNING, 0, ""

    async def _run_turn(self) -> None:
        self._go_on()
        self._watch.start()
        session = self._session()
        local_only = self.request.local_only or (session is not None and session.local_only)
        too_short = self._briefing.too_short(self._hooks)
        decision = self._rooms.router.route(
            self.request,
            local_only,
            self._hooks,
            too_short,
            session=session,
            prompt_tokens=self._briefing.roughly,
            deadline_s=self._left_s(),
        )
        ranked = route.ranked(decision, self._hooks)
        if session is not None:
            await self._record_question()
        self.begun = True
        self._recording.decision = route.to_wire(decision, self._hooks)
        self._tell_start()
        await self._answer(self._fallback(ranked, decision.local_only))

    def _left_s(self) -> float | None:
        """What is left of the request's time; None: it has any."""
        if not self.request.HasField("timeout"):
            return None
        return self.request.timeout.ToTimedelta().total_seconds() - self._watch.elapsed_s

    def _session(self) -> sessions_pb2.Session | None:
        """The session's header as it is now. Raises NotFoundError."""
        session_id = self.request.session_id
        return self._rooms.sessions.get(session_id) if session_id else None

    async def _record_question(self) -> None:
        request = self.request
        turn = await self._rooms.sessions.begin_turn(
            request.session_id, request.request_id, request.input, fingerprint(request)
        )
        self._recording = Recording(self._watch, turn)
        self._briefing.begin(turn)

    def _tell_start(self) -> None:
        started = pb.ExecutionStarted(
            request_id=self.request.request_id,
            session_id=self.request.session_id,
            message_ids=self._recording.question_ids,
            decision=self._recording.decision,
            agent_checks=self.request.agent_checks,
        )
        self.log.append(pb.ExecuteResponse(started=started))

    def _fallback(self, ranked: Sequence[Hook], local_only: bool) -> Fallback:
        restarts = self.request.on_break == pb.ON_BREAK_RESTART
        cooldowns = self._rooms.router.cooldowns
        chat_for, place_at = self._briefing.chat_for, self._place_at
        return Fallback(ranked, chat_for, place_at, cooldowns, restarts, local_only, self._failed)

    async def _answer(self, fallback: Fallback) -> None:
        try:
            with self._scope:
                finished = await self._stream(fallback)
        except Stopped as stopped:
            status = _STOPPED[stopped.stop]
            error = self._stop_error(stopped.stop, **self._recording.where(status))
            await self._end(status, pb.FINISH_REASON_CANCELLED, error=error)
        except ModelError as problem:
            where = self._recording.where(_FAILED)
            await self._end(_FAILED, error=failures.to_client(problem, self._failed, **where))
        except Exception as problem:
            await self._end(_FAILED, error=failures.defect(problem))
            raise
        else:
            self._briefing.learn(self.model, finished)
            await self._end(_COMPLETE, _FINISH[finished.reason], finished)

    async def _stream(self, fallback: Fallback) -> Finished:
        async with aclosing(fallback.answer()) as stream:
            async for hook, item in stream:
                self._recording.hook = hook
                if isinstance(item, Finished):
                    return item
                if isinstance(item, Restart):
                    await self._restart(item)
                elif self._take(item):
                    return Finished(Finish.LENGTH)
        raise AssertionError("a stream ends with Finished or raises")

    def _take(self, content: Content) -> bool:
        """Take in a piece; whether the answer is full with it."""
        call = content.call
        head = pb.ToolCallHead(call_id=call.call_id, name=call.name) if call else None
        self.log.append_text(_KIND[content.kind], self._recording.take(content), head)
        return self._recording.is_full

    async def _restart(self, restart: Restart) -> None:
        await self._recording.restart()
        rerouted = pb.ExecutionRerouted(
            from_model=restart.from_model,
            to_model=restart.to_model,
            reason=restart.error.kind.value,
            detail=restart.error.message,
        )
        self.log.append(pb.ExecuteResponse(rerouted=rerouted))

    async def _end(
        self,
        status: messages_pb2.MessageStatus.ValueType,
        reason: pb.FinishReason.ValueType = pb.FINISH_REASON_UNSPECIFIED,
        finished: Finished | None = None,
        *,
        error: OblixdError | None = None,
    ) -> None:
        """Record how it ended, and only then tell it. Raises the error, where it ended with one."""
        message = self._recording.message(status, finished)
        if (hook := self._recording.hook) is not None:
            self._billing.price(message, hook)
            self._tell_router(message, hook)
        report = pb.ExecutionCompleted(failed_attempts=self._failed, context=self._briefing.report)
        try:
            outcome = Outcome(error, reason, report.SerializeToString())
            # Both in one sync of the disk.
            _, message = await asyncio.gather(
                self._billing.count(message), self._recording.keep(message, outcome)
            )
        except NotFoundError:
            # A session that was deleted under the answer, which stopped it, has no place left to keep it.
            if self._scope.stop is None:
                raise
        if error is not None:
            raise error
        self._complete(message, reason)

    def _tell_router(self, message: messages_pb2.Message, hook: Hook) -> None:
        """Let routing learn from an answer."""
        sent, alone = self._briefing.report.sent_tokens, not self._failed
        self._rooms.router.answered(self.request.request_id, hook, message, sent, alone=alone)

    def _end_unstarted(self, stop: Stop) -> OblixdError | None:
        error = self._stop_error(stop, session_id=self.request.session_id, message_id="", kept_bytes=0)
        if error is None:
            self._complete(messages_pb2.Message(), pb.FINISH_REASON_CANCELLED)
        return error

    def _stop_error(self, stop: Stop, **where: object) -> OblixdError | None:
        """What a stop is to those who wait; None: no error, for somebody wanted it."""
        match stop:
            case Stop.INTERRUPTED:
                return failures.interrupted(**where)
            case Stop.EXPIRED:
                return failures.timed_out(self.request.timeout, **where)
            case Stop.CANCELLED:
                return None

    def _complete(self, message: messages_pb2.Message, reason: pb.FinishReason.ValueType) -> None:
        cancelled = reason == pb.FINISH_REASON_CANCELLED
        self.state = pb.EXECUTION_STATE_CANCELLED if cancelled else pb.EXECUTION_STATE_COMPLETED
        message.request_id = self.request.request_id
        completed = pb.ExecutionCompleted(
            request_id=self.request.request_id,
            session_id=self.request.session_id,
            message=message,
            finish_reason=reason,
            failed_attempts=self._failed,
            context=self._briefing.report,
        )
        self.log.append(pb.ExecuteResponse(completed=completed))
