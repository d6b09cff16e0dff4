"""One execution: a turn of a conversation, or a single prompt that is not recorded.

It belongs to the daemon. Streams attach to its log; it ends by itself, whether
anybody listens or not, unless it is stopped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from oblix.v1 import executions_pb2, sessions_pb2

from oblixd.client_memory import Share
from oblixd.errors import OblixdError, ResourceExhaustedError
from oblixd.execution import errors, event_log
from oblixd.execution.answer import Stopwatch, TurnRecorder
from oblixd.execution.completion import Completion, stop_before_begin
from oblixd.execution.context import ContextBuilder
from oblixd.execution.event_log import EventLog
from oblixd.execution.fallback import Fallback, Restart
from oblixd.execution.services import ClientInfo, Services
from oblixd.execution.validation import excerpt, fingerprint, remnant
from oblixd.models import Content, Hook, ModelError
from oblixd.router import ranked_hooks, to_wire
from oblixd.scheduling import CancelScope, Priority, Stopped, StopReason
from oblixd.sessions import Turn


class Deadline:
    """A request's `timeout`, or none."""

    def __init__(self, request: executions_pb2.ExecuteRequest, watch: Stopwatch) -> None:
        has_one = request.HasField("timeout")
        self._timeout_s = request.timeout.ToTimedelta().total_seconds() if has_one else None
        self._watch = watch

    @property
    def left_s(self) -> float | None:
        """Seconds that are left. None: no limit."""
        return None if self._timeout_s is None else self._timeout_s - self._watch.elapsed_s

    @contextmanager
    def enforce(self, expire: Callable[[], None]) -> Generator[None, None, None]:
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

MEMORY_STEP_BYTES = 64 << 10
"""An answer is counted in steps of this size: most are shorter, and a few bytes more do not matter."""


class Execution:
    """Make one, then run it as a task of its own."""

    def __init__(
        self,
        request: executions_pb2.ExecuteRequest,
        client: ClientInfo,
        hooks: Sequence[Hook],
        services: Services,
        share: Share,
    ) -> None:
        self.request = request
        """As it was checked; its request_id is set. After the end: what lists show of it."""
        self.fingerprint = fingerprint(request)
        """What tells it from another request of the same id."""
        self.share = share
        """What it holds of the clients' memory: its request is in it already."""
        self.client = client
        """Who sent it."""
        self.state = executions_pb2.EXECUTION_STATE_QUEUED
        self.created_s = time.time()
        self.ended_s: float | None = None
        """Monotonic; None while it waits or runs."""
        self.log = EventLog()
        self.stream_count = 0
        """Streams that read it now."""
        self.position = 0
        """Its position among those that wait for the same; 0 while it does not wait."""
        self.waits_for = ""
        """provider:name of the model that it waits for; empty: for its session's turn, or not at all."""
        self.has_begun = False
        """Whether its turn has begun: what fails before that leaves nothing behind."""
        self.is_removed = False
        """Whether its session, or messages of that, were deleted meanwhile: it is forgotten at its end."""
        self.origin = ""
        """Where the server that answered is, known after the end. Empty: none, or an embedded model."""
        self._final_model = ""
        self._was_sent = False
        self._hooks = hooks
        self._services = services
        self._scope = CancelScope()
        self._watch = Stopwatch()
        self._deadline = Deadline(request, self._watch)
        self._recorder = TurnRecorder(self.log, self._watch)

    @property
    def model(self) -> str:
        """provider:name of the model that answers; empty before one was chosen."""
        return self._final_model or self._recorder.model

    @property
    def leaves_nothing(self) -> bool:
        """Whether nothing of it is kept and no model has seen it: it may be sent again, with the same id."""
        return not self._was_sent and self._recorder.turn is None

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
            error.forget_traceback()
            self.state = executions_pb2.EXECUTION_STATE_FAILED
        self.position, self.waits_for, self.ended_s = 0, "", time.monotonic()
        self._release_inputs()
        self.log.end(error)

    def _release_inputs(self) -> None:
        """Keep of what has ended what can still be asked for: the log, and a line in lists."""
        self._final_model = self._recorder.model
        self.origin = self._recorder.hook.connection.origin if self._recorder.hook else ""
        self.request = remnant(self.request, excerpt(self.request))
        self._recorder = TurnRecorder(self.log, self._watch)
        self.share.keep(self.log.held_bytes)

    async def _run(self) -> None:
        try:
            with self._deadline.enforce(lambda: self.stop(StopReason.EXPIRED)):
                await self._wait_and_run()
        except Stopped as stopped:
            self._complete(stop_before_begin(self.request, stopped.stop))

    async def _wait_and_run(self) -> None:
        """Wait for the session's turn, where there is a session, and hold it."""
        session_id, waits = self.request.session_id, self.request.when_busy != executions_pb2.WHEN_BUSY_FAIL
        if not session_id:
            await self._run_turn()
            return
        async with self._services.turns.turn(session_id, self._scope, self._publish_position, waits=waits):
            await self._run_turn()

    def _publish_position(self, position: int, model: str = "") -> None:
        if self._scope.stop is not None:
            return
        self.state, self.position, self.waits_for = executions_pb2.EXECUTION_STATE_QUEUED, position, model
        self.log.append(event_log.queued_event(self.request.request_id, position, model))

    def _mark_running(self) -> None:
        self.state, self.position, self.waits_for = executions_pb2.EXECUTION_STATE_RUNNING, 0, ""

    async def _run_turn(self) -> None:
        self._mark_running()
        self._watch.start()
        session, services = self._session(), self._services
        context = ContextBuilder(self.request, session, services, self._is_local_only)
        decision = services.router.route(context.query(self._hooks, self._deadline.left_s))
        ranked = ranked_hooks(decision, self._hooks)
        if session is not None:
            turn = await self._begin_turn()
            context.begin(turn)
            self._recorder.begin(turn)
        self.has_begun = True
        self._recorder.decision = to_wire(decision, self._hooks)
        self.log.append(
            event_log.started_event(self.request, self._recorder.question_ids, self._recorder.decision)
        )
        self._complete(await self._answer(ranked, context))

    def _session(self) -> sessions_pb2.Session | None:
        """Return the session's header as it is now. Raises NotFoundError."""
        session_id = self.request.session_id
        return self._services.sessions.get(session_id) if session_id else None

    def _is_local_only(self) -> bool:
        """Return whether the prompt must stay on this machine, by all that says so now. Unreadable is yes."""
        try:
            return self._services.router.is_local_only(self.request, self._session())
        except OblixdError:
            return True

    async def _begin_turn(self) -> Turn:
        """Write the question to disk, and reserve a sequence for the answer."""
        request, sessions = self.request, self._services.sessions
        session_id, request_id, mark = request.session_id, request.request_id, self.fingerprint
        if answered := request.regenerate_message_id:
            return await sessions.begin_turn_again(session_id, request_id, answered, mark)
        return await sessions.begin_turn(session_id, request_id, request.input, mark)

    async def _answer(
        self, ranked: Sequence[Hook], context: ContextBuilder
    ) -> executions_pb2.ExecutionCompleted:
        """Have a model answer; and whatever comes of it, record that."""
        completion = Completion(
            self.request,
            self.client,
            self._services,
            recorder=self._recorder,
            context_builder=context,
            scope=self._scope,
        )
        try:
            with self._scope:
                finished = await self._fallback(ranked, context).answer()
        except Stopped as stopped:
            if stopped.stop is StopReason.INTERRUPTED and self.leaves_nothing:
                self.has_begun = False
                raise errors.stopping(self.request.request_id) from None
            return await completion.record_stop(stopped.stop)
        except ModelError as problem:
            raise await completion.record_failure(problem) from problem
        except ResourceExhaustedError as problem:
            raise await completion.record_refusal(problem) from problem
        except Exception as problem:
            await completion.record_defect(problem)
            raise
        return await completion.record_answer(finished)

    def _fallback(self, ranked: Sequence[Hook], context: ContextBuilder) -> Fallback:
        return Fallback(
            ranked,
            context,
            self._services.slots,
            self._services.router.cooldowns,
            progress=self,
            client=self.client.name,
            share=self.share,
            priority=Priority(self.request.priority or executions_pb2.PRIORITY_INTERACTIVE),
            restarts=self.request.on_break == executions_pb2.ON_BREAK_RESTART,
            failed_attempts=self._recorder.failed_attempts,
        )

    def queued(self, position: int, model: str) -> None:
        """See `Progress.queued`."""
        self._publish_position(position, model)

    def runs(self, since_s: float) -> None:
        """See `Progress.runs`."""
        self._was_sent = True
        self._watch.add_wait(since_s)
        self._mark_running()

    def take(self, hook: Hook, content: Content) -> bool:
        """See `Progress.take`. Raises ResourceExhaustedError where there is no memory for more."""
        if content.seal is not None:
            # Kept as a whole with the answer's end. A stream that attaches sees it at its position.
            self.log.append(event_log.seal_event(content.seal, self.log.size))
            return False
        before = self.log.size
        self._recorder.take(hook, content)
        self._count_memory(before)
        return self._recorder.is_full

    def finished(self, hook: Hook) -> None:
        """See `Progress.finished`."""
        self._recorder.hook = hook

    async def restart(self, hook: Hook, restart: Restart) -> None:
        """See `Progress.restart`."""
        await self._recorder.restart(hook)
        self.log.append(event_log.rerouted_event(restart))

    def _count_memory(self, before: int) -> None:
        """Count the answer, too, once it is longer than most. Raises ResourceExhaustedError."""
        if steps := self.log.size // MEMORY_STEP_BYTES - before // MEMORY_STEP_BYTES:
            self.share.take(steps * MEMORY_STEP_BYTES)

    def _complete(self, completed: executions_pb2.ExecutionCompleted) -> None:
        cancelled = completed.finish_reason == executions_pb2.FINISH_REASON_CANCELLED
        self.state = (
            executions_pb2.EXECUTION_STATE_CANCELLED
            if cancelled
            else executions_pb2.EXECUTION_STATE_COMPLETED
        )
        self.log.append(executions_pb2.ExecuteResponse(completed=completed))
