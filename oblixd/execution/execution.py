"""One execution: a turn of a conversation, or a single prompt that is not recorded.

It belongs to the daemon. Streams attach to its log; it ends by itself, whether
anybody listens or not, unless it is stopped.

The time that a request gives its execution, from its arrival on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager

from oblix.v1 import executions_pb2, sessions_pb2

from oblixd.client_memory import Share
from oblixd.errors import OblixdError, ResourceExhaustedError
from oblixd.execution import errors, event_log
from oblixd.execution.answer import Stopwatch, TurnRecorder
from oblixd.execution.client import ClientInfo
from oblixd.execution.completion import Completion
from oblixd.execution.context import ContextBuilder
from oblixd.execution.event_log import EventLog
from oblixd.execution.fallback import Fallback, Restart
from oblixd.execution.services import Services
from oblixd.execution.validation import excerpt, fingerprint, remnant
from oblixd.models import ChatRequest, Content, Finish, Finished, Hook, ModelError
from oblixd.router import ranked_hooks, to_wire
from oblixd.scheduling import CancelScope, Priority, Stopped, StopReason, Ticket


class Deadline:
    """A request's `timeout`, or none."""

    def __init__(self, request: executions_pb2.ExecuteRequest, watch: Stopwatch) -> None:
        given = request.timeout.ToTimedelta().total_seconds()
        self._timeout_s = given if request.HasField("timeout") else None
        self._watch = watch

    @property
    def left_s(self) -> float | None:
        """Seconds that are left. None: no limit."""
        return None if self._timeout_s is None else self._timeout_s - self._watch.elapsed_s

    @contextmanager
    def kept(self, expire: Callable[[], None]) -> Generator[None, None, None]:
        """Call `expire` once the time is over, unless what is inside ended before."""
        if self._timeout_s is None:
            yield
            return
        timer = asyncio.get_running_loop().call_later(self._timeout_s, expire)
        try:
            yield
        finally:
            timer.cancel()


logger = logging.getLogger(__name__)

WEIGHED_BYTES = 64 << 10
"""An answer is counted in steps of this size: most are shorter, and a few bytes more do not matter."""


class Execution:
    """Make one, then run it as a task of its own."""

    def __init__(
        self,
        request: executions_pb2.ExecuteRequest,
        caller: ClientInfo,
        hooks: Sequence[Hook],
        services: Services,
        share: Share,
    ) -> None:
        self.request = request
        """As it was checked; its request_id is set. After the end: what lists show of it."""
        self.fingerprint = fingerprint(request)
        """Tells it from another request of the same id."""
        self.share = share
        """What it holds of the clients' memory: its request is in it already."""
        self.caller = caller
        """Who sent it."""
        self.state = executions_pb2.EXECUTION_STATE_QUEUED
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
        self._answered_by = ""
        self._context_bytes = 0
        self._hooks = hooks
        self._services = services
        self._scope = CancelScope()
        self._watch = Stopwatch()
        self._deadline = Deadline(request, self._watch)
        self._recorder = TurnRecorder(self._watch)
        self._context_builder = ContextBuilder(
            request, self._session(), services.sessions, services.calibration, self._is_local_only
        )
        self._ending = Completion(
            request,
            caller,
            services,
            recorder=self._recorder,
            context_builder=self._context_builder,
            scope=self._scope,
        )

    @property
    def model(self) -> str:
        """provider:name of the model that answers; empty before one was chosen."""
        return self._answered_by or self._recorder.model

    def stop(self, stop: StopReason) -> None:
        """Stop it: what has come of the answer is kept."""
        self._scope.request(stop)

    async def run(self) -> None:
        """Run to the end. Raises nothing: how it ended is in the log."""
        error: OblixdError | None = None
        try:
            await self._run()
        except OblixdError as problem:
            error = problem
        except Exception as problem:
            logger.exception("execution %s failed", self.request.request_id)
            error = errors.defect(problem)
        if error is not None:
            self.state = executions_pb2.EXECUTION_STATE_FAILED
        self.place, self.waits_for, self.ended_s = 0, "", time.monotonic()
        self._let_go()
        self.log.end(error)

    def _let_go(self) -> None:
        """Keep of what has ended what can still be asked for: the log, and a line in lists."""
        self._answered_by = self._recorder.model
        self.request = remnant(self.request, excerpt(self.request))
        self._recorder = TurnRecorder(self._watch)
        del self._context_builder, self._ending
        self.share.keep(self.log.held_bytes)

    async def _run(self) -> None:
        try:
            with self._deadline.kept(lambda: self.stop(StopReason.EXPIRED)):
                async with self._turn():
                    await self._run_turn()
        except Stopped as stopped:
            self._complete(self._ending.unstarted(stopped.stop))

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None, None]:
        """Wait for the session's turn and hold it."""
        session_id, waits = self.request.session_id, self.request.when_busy != executions_pb2.WHEN_BUSY_FAIL
        if not session_id:
            yield
            return
        async with self._services.turns.turn(session_id, self._scope, self._tell_place, waits=waits):
            yield

    @asynccontextmanager
    async def _place_at(self, hook: Hook) -> AsyncGenerator[None, None]:
        """Wait for a place at a model and hold it."""
        priority = Priority(self.request.priority or executions_pb2.PRIORITY_INTERACTIVE)
        ticket = Ticket(self.caller.name, priority, lambda place: self._tell_place(place, hook.id))
        since_s = time.monotonic()
        async with self._services.slots.place(hook.backend, hook.connection.max_running, ticket):
            self._watch.waited(since_s)
            self._go_on()
            yield

    def _tell_place(self, place: int, model: str = "") -> None:
        self.state, self.place, self.waits_for = executions_pb2.EXECUTION_STATE_QUEUED, place, model
        self.log.append(event_log.queued(self.request.request_id, place, model))

    def _go_on(self) -> None:
        self.state, self.place, self.waits_for = executions_pb2.EXECUTION_STATE_RUNNING, 0, ""

    async def _run_turn(self) -> None:
        self._go_on()
        self._watch.start()
        session = self._session()
        query = self._context_builder.query(session, self._hooks, self._deadline.left_s)
        decision = self._services.router.route(query)
        ranked = ranked_hooks(decision, self._hooks)
        if session is not None:
            await self._record_question()
        self.begun = True
        recorder = self._recorder
        recorder.decision = to_wire(decision, self._hooks)
        self.log.append(event_log.started(self.request, recorder.question_ids, recorder.decision))
        await self._answer(self._fallback(ranked))

    def _session(self) -> sessions_pb2.Session | None:
        """Return the session's header as it is now. Raises NotFoundError."""
        session_id = self.request.session_id
        return self._services.sessions.get(session_id) if session_id else None

    def _is_local_only(self) -> bool:
        """Whether the prompt must stay on this machine, by all that says so now. Unreadable is yes."""
        try:
            return self._services.router.is_local_only(self.request, self._session())
        except OblixdError:
            return True

    async def _record_question(self) -> None:
        request, sessions = self.request, self._services.sessions
        session_id, request_id, mark = request.session_id, request.request_id, self.fingerprint
        if answered := request.regenerate_message_id:
            turn = await sessions.begin_turn_again(session_id, request_id, answered, mark)
        else:
            turn = await sessions.begin_turn(session_id, request_id, request.input, mark)
        self._context_builder.begin(turn)
        self._recorder.begin(turn)

    def _fallback(self, ranked: Sequence[Hook]) -> Fallback:
        return Fallback(
            ranked,
            self._chat_for,
            self._place_at,
            self._services.router.cooldowns,
            may_send_less=self._context_builder.may_send_less,
            restarts=self.request.on_break == executions_pb2.ON_BREAK_RESTART,
            failed=self._recorder.failed,
        )

    async def _chat_for(self, hook: Hook) -> ChatRequest:
        """Return what a model is sent. Of what the one before it was sent nothing is held any more."""
        self.share.give_back(self._context_bytes)
        self._context_bytes = 0
        return await self._context_builder.chat_for(hook, self._hold_context)

    def _hold_context(self, size: int) -> None:
        self.share.take(size)
        self._context_bytes += size

    async def _answer(self, fallback: Fallback) -> None:
        try:
            with self._scope:
                finished = await self._stream(fallback)
        except Stopped as stopped:
            completed = await self._ending.stopped(stopped.stop)
        except ModelError as problem:
            raise await self._ending.failed(problem) from problem
        except ResourceExhaustedError as problem:
            raise await self._ending.refused(problem) from problem
        except Exception as problem:
            await self._ending.broke(problem)
            raise
        else:
            completed = await self._ending.answered(finished)
        self._complete(completed)

    async def _stream(self, fallback: Fallback) -> Finished:
        async with aclosing(fallback.answer()) as stream:
            async for hook, item in stream:
                self._recorder.hook = hook
                if isinstance(item, Finished):
                    return item
                if isinstance(item, Restart):
                    await self._restart(item)
                elif self._take(item):
                    return Finished(Finish.LENGTH)
        raise AssertionError("a stream ends with Finished or raises")

    def _take(self, content: Content) -> bool:
        """Take in a piece; whether the answer is full with it."""
        text = self._recorder.take(content)
        self._weigh(len(text))
        self.log.append_text(event_log.KIND[content.kind], text, event_log.head(content))
        return self._recorder.is_full

    def _weigh(self, size: int) -> None:
        """Count the answer, too, once it is longer than most. Raises ResourceExhaustedError."""
        before = self.log.size // WEIGHED_BYTES
        if steps := (self.log.size + size) // WEIGHED_BYTES - before:
            self.share.take(steps * WEIGHED_BYTES)

    async def _restart(self, restart: Restart) -> None:
        await self._recorder.restart()
        self.log.append(event_log.rerouted(restart))

    def _complete(self, completed: executions_pb2.ExecutionCompleted) -> None:
        cancelled = completed.finish_reason == executions_pb2.FINISH_REASON_CANCELLED
        self.state = (
            executions_pb2.EXECUTION_STATE_CANCELLED
            if cancelled
            else executions_pb2.EXECUTION_STATE_COMPLETED
        )
        self.log.append(executions_pb2.ExecuteResponse(completed=completed))
