"""One execution: a turn of a conversation, or a single prompt that is not recorded.

It belongs to the daemon. Streams attach to its log; it ends by itself, whether
anybody listens or not, unless it is stopped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager

from oblix.v1 import executions_pb2 as pb
from oblix.v1 import sessions_pb2

from oblixd.errors import OblixdError
from oblixd.execution import events, failures
from oblixd.execution.briefing import Briefing
from oblixd.execution.caller import Caller
from oblixd.execution.deadline import Deadline
from oblixd.execution.decisions import to_wire
from oblixd.execution.ending import Ending
from oblixd.execution.fallback import Fallback, Restart
from oblixd.execution.log import EventLog
from oblixd.execution.places import Priority, Ticket
from oblixd.execution.recording import Recording
from oblixd.execution.requests import fingerprint
from oblixd.execution.rooms import Rooms
from oblixd.execution.route import ranked_hooks
from oblixd.execution.scope import Stop, Stopped, StopScope
from oblixd.execution.stopwatch import Stopwatch
from oblixd.models.base import Content, Finish, Finished, ModelError
from oblixd.models.registry import Hook

_log = logging.getLogger(__name__)


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
        self._deadline = Deadline(request, self._watch)
        self._recording = Recording(self._watch)
        self._briefing = Briefing(
            request, self._session(), rooms.sessions, rooms.corrections, self._is_local_only
        )
        self._ending = Ending(
            request,
            caller,
            rooms,
            recording=self._recording,
            briefing=self._briefing,
            scope=self._scope,
        )

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
            await self._run()
        except OblixdError as problem:
            error = problem
        except Exception as problem:  # noqa: BLE001 - those who are attached must hear of any end
            _log.exception("execution %s failed", self.request.request_id)
            error = failures.defect(problem)
        if error is not None:
            self.state = pb.EXECUTION_STATE_FAILED
        self.place, self.waits_for, self.ended_s = 0, "", time.monotonic()
        self.log.end(error)

    async def _run(self) -> None:
        try:
            with self._deadline.kept(lambda: self.stop(Stop.EXPIRED)):
                async with self._turn():
                    await self._run_turn()
        except Stopped as stopped:
            self._complete(self._ending.unstarted(stopped.stop))

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
        self.log.append(events.queued(self.request.request_id, place, model))

    def _go_on(self) -> None:
        self.state, self.place, self.waits_for = pb.EXECUTION_STATE_RUNNING, 0, ""

    async def _run_turn(self) -> None:
        self._go_on()
        self._watch.start()
        session = self._session()
        query = self._briefing.query(session, self._hooks, self._deadline.left_s)
        decision = self._rooms.router.route(query)
        ranked = ranked_hooks(decision, self._hooks)
        if session is not None:
            await self._record_question()
        self.begun = True
        recording = self._recording
        recording.decision = to_wire(decision, self._hooks)
        self.log.append(events.started(self.request, recording.question_ids, recording.decision))
        await self._answer(self._fallback(ranked))

    def _session(self) -> sessions_pb2.Session | None:
        """The session's header as it is now. Raises NotFoundError."""
        session_id = self.request.session_id
        return self._rooms.sessions.get(session_id) if session_id else None

    def _is_local_only(self) -> bool:
        """Whether the prompt must stay on this machine, by all that says so now. Unreadable is yes."""
        try:
            return self._rooms.router.is_local_only(self.request, self._session())
        except OblixdError:
            return True

    async def _record_question(self) -> None:
        request, sessions = self.request, self._rooms.sessions
        session_id, request_id, mark = request.session_id, request.request_id, fingerprint(request)
        if answered := request.regenerate_message_id:
            turn = await sessions.begin_turn_again(session_id, request_id, answered, mark)
        else:
            turn = await sessions.begin_turn(session_id, request_id, request.input, mark)
        self._recording.begin(turn)
        self._briefing.begin(turn)

    def _fallback(self, ranked: Sequence[Hook]) -> Fallback:
        return Fallback(
            ranked,
            self._briefing.chat_for,
            self._place_at,
            self._rooms.router.cooldowns,
            restarts=self.request.on_break == pb.ON_BREAK_RESTART,
            failed=self._recording.failed,
        )

    async def _answer(self, fallback: Fallback) -> None:
        try:
            with self._scope:
                finished = await self._stream(fallback)
        except Stopped as stopped:
            completed = await self._ending.stopped(stopped.stop)
        except ModelError as problem:
            raise await self._ending.failed(problem) from problem
        except Exception as problem:
            await self._ending.broke(problem)
            raise
        else:
            completed = await self._ending.answered(finished)
        self._complete(completed)

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
        text = self._recording.take(content)
        self.log.append_text(events.KIND[content.kind], text, events.head(content))
        return self._recording.is_full

    async def _restart(self, restart: Restart) -> None:
        await self._recording.restart()
        self.log.append(events.rerouted(restart))

    def _complete(self, completed: pb.ExecutionCompleted) -> None:
        cancelled = completed.finish_reason == pb.FINISH_REASON_CANCELLED
        self.state = pb.EXECUTION_STATE_CANCELLED if cancelled else pb.EXECUTION_STATE_COMPLETED
        self.log.append(pb.ExecuteResponse(completed=completed))
