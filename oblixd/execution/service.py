"""All executions of the daemon: started once per request_id, attached to, listed, cancelled, drained."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager

from oblix.v1 import embeddings_pb2, executions_pb2, routing_pb2

from oblixd.client_memory import CALL, ClientMemory, Share
from oblixd.errors import NotFoundError, OblixdError
from oblixd.execution import embedding, event_log
from oblixd.execution.context import ContextBuilder
from oblixd.execution.embedding import EmbeddedTexts, Embedding
from oblixd.execution.errors import stopping
from oblixd.execution.event_log import EventLog
from oblixd.execution.execution import Execution
from oblixd.execution.history import HistoryMessage
from oblixd.execution.services import ClientInfo, Services
from oblixd.execution.validation import check, checked_id, excerpt, fingerprint
from oblixd.models import Hook, Registry, TokenCalibration
from oblixd.router import (
    Cooldowns,
    ModelStats,
    Policies,
    Router,
    Snapshots,
    model_stats,
    ranked_hooks,
    to_wire,
)
from oblixd.scheduling import QUEUE_LENGTH, ModelSlots, StopReason, TurnQueue
from oblixd.sessions import RecordedTurn, Sessions, reused_error
from oblixd.usage import Usage


def summary(execution: Execution) -> executions_pb2.Execution:
    """Return where the execution is in its life."""
    request, error = execution.request, execution.log.error
    result = executions_pb2.Execution(
        request_id=request.request_id,
        session_id=request.session_id,
        state=execution.state,
        model=execution.model,
        delta_bytes=execution.log.size,
        attached_streams=execution.stream_count,
        place=execution.position,
        waits_for_model=execution.waits_for,
        client=execution.client.label,
        priority=request.priority or executions_pb2.PRIORITY_INTERACTIVE,
        error_reason=error.reason if error else "",
        prompt_excerpt=excerpt(request),
    )
    result.create_time.FromMicroseconds(round(execution.created_s * 1e6))
    if execution.ended_s is not None:
        ended_s = time.time() - (time.monotonic() - execution.ended_s)
        result.end_time.FromMicroseconds(round(ended_s * 1e6))
    return result


REMEMBERED_S = 600.0
"""An execution can be attached to for this long after its end."""
REMEMBERED_BYTES = 32 << 20
"""What is kept of ended executions at most; the oldest go first."""
REMEMBERED_COUNT = 1000

INTERRUPT_BATCH = 100
"""So many executions are stopped before the event loop turns again."""

logger = logging.getLogger(__name__)
UNKNOWN_CLIENT = ClientInfo()
Events = AsyncGenerator[executions_pb2.ExecuteResponse, None]


class Executions:
    """The executions that wait, run, or ended lately."""

    def __init__(
        self,
        registry: Registry,
        sessions: Sessions,
        monitor: Snapshots,
        usage: Usage,
        *,
        queue_length: int = QUEUE_LENGTH,
        policies: Policies | None = None,
        memory: ClientMemory | None = None,
    ) -> None:
        self.memory = memory or ClientMemory()
        """What is held for clients: of prompts and answers, and by the calls that bring them."""
        self.memory.reclaim = self._reclaim
        self._registry = registry
        self._monitor = monitor
        self.cooldowns = Cooldowns()
        """Which models are left alone for a while."""
        self.slots = ModelSlots(queue_length)
        """Who waits for which model."""
        self.router = Router(monitor, self.cooldowns, usage, slots=self.slots, policies=policies)
        """Where prompts go, and went lately."""
        self._services = Services(
            sessions=sessions,
            router=self.router,
            turns=TurnQueue(),
            slots=self.slots,
            calibration=TokenCalibration(),
            usage=usage,
            histories=sessions.tails(HistoryMessage),
            running_count=lambda: self.running_count,
        )
        self._by_id: dict[str, Execution] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ended_executions: deque[Execution] = deque()
        self._ended_bytes = 0
        self._is_draining = False
        self.on_started: Callable[[Execution], None] = lambda _execution: None
        """Hears of each execution that was taken, before it runs."""
        self.on_ended: Callable[[Execution], None] = lambda _execution: None
        """Hears of each execution that ended, in the same step."""

    @property
    def history_bytes(self) -> int:
        """Return what the ends of sessions take that are kept for their next prompts."""
        return self._services.histories.size

    @property
    def waiting_count(self) -> int:
        """How many wait for their turn or for a model."""
        return sum(bool(self._by_id[request_id].position) for request_id in self._tasks)

    @property
    def running_count(self) -> int:
        """How many wait or run."""
        return len(self._tasks)

    async def execute(
        self, request: executions_pb2.ExecuteRequest, client: ClientInfo = UNKNOWN_CLIENT
    ) -> Events:
        """Start the execution, or attach to the one that has its request_id, and stream it."""
        request = check(request)
        if (log := self._replay(request)) is not None:
            async for event in self._read(log, client, 0):
                yield event
            return
        execution = self._start(request, client)
        # From here on the execution alone holds it, and lets go of it at its end.
        del request
        with self._attach_stream(execution):
            async for event in execution.log.read():
                yield event

    async def attach(self, request_id: str, offset: int) -> Events:
        """Stream an execution without the first `offset` bytes of its text."""
        if request_id not in self._by_id:
            turn = self._recorded_turn(request_id)
            log = event_log.log_of(request_id, turn)
            async for event in self._read(log, UNKNOWN_CLIENT, event_log.offset_in(log, turn, offset)):
                yield event
            return
        execution = self._by_id[request_id]
        with self._attach_stream(execution):
            async for event in execution.log.read(offset):
                yield event

    async def _read(self, log: EventLog, client: ClientInfo, offset: int) -> Events:
        """Read a log that was made for this one reader."""
        with self.memory.share(client.name) as share:
            share.take(log.held_bytes)
            async for event in log.read(offset):
                yield event

    async def cancel(self, request_id: str) -> executions_pb2.Execution:
        """Cancel an execution and wait for its end. One that has ended stays as it was."""
        if request_id not in self._by_id:
            return event_log.summary_of(request_id, self._recorded_turn(request_id))
        execution = self._by_id[request_id]
        execution.stop(StopReason.CANCELLED)
        if task := self._tasks.get(request_id):
            await asyncio.wait([task])
        return summary(execution)

    def list(self, session_id: str) -> list[executions_pb2.Execution]:
        """List those of a session, or all; oldest first."""
        self._forget()
        known = self._by_id.values()
        return [summary(known_) for known_ in known if session_id in ("", known_.request.session_id)]

    def explain(self, request: executions_pb2.ExecuteRequest) -> routing_pb2.RoutingDecision:
        """Return the decision that Execute would make now."""
        request = check(request)
        hooks = self._registry.resolve(request.candidates)
        session = self._services.sessions.get(request.session_id) if request.session_id else None
        context_builder = ContextBuilder(request, session, self._services, lambda: True)
        decision = self.router.explain(context_builder.query(hooks))
        return to_wire(decision, hooks)

    async def count_tokens(self, request: executions_pb2.ExecuteRequest) -> int:
        """Count the tokens of a request, by the tokeniser of the model that it would go to; else estimate."""
        request = check(request)
        hooks = self._registry.resolve(request.candidates)
        is_local_only = self.router.is_local_only(request, None)
        context_builder = ContextBuilder(request, None, self._services, lambda: is_local_only)
        decision = self.router.explain(context_builder.query(hooks))
        return await context_builder.count(ranked_hooks(decision, hooks)[0])

    async def embed(
        self, request: embeddings_pb2.EmbedTextsRequest, client: ClientInfo = UNKNOWN_CLIENT
    ) -> EmbeddedTexts:
        """Turn texts into vectors."""
        embedding.check(request)
        self._check_serving()
        hooks = self._registry.resolve_embedding(request.candidates)
        give_back = self._registry.lease(hooks)
        share = self._share_of(request.ByteSize(), client)
        try:
            return await Embedding(request, client, hooks, self._services).run()
        finally:
            share.release()
            give_back()

    def model_of(self, request_id: str) -> str:
        """Name the model that answers an execution, as provider:name; empty while none was chosen."""
        execution = self._by_id.get(request_id)
        return execution.model if execution else ""

    def is_local_only(self, request: executions_pb2.ExecuteRequest) -> bool:
        """Return whether a prompt must stay on this machine, as all say now. What can't be read says yes."""
        try:
            session = self._services.sessions.get(request.session_id) if request.session_id else None
            return self.router.is_local_only(request, session)
        except OblixdError:
            return True

    def model_stats(self, hook: Hook) -> ModelStats:
        """Return a model's queue and speed."""
        return model_stats(hook, self.slots, self.router.speeds, self._monitor.latest())

    def stop_session(self, session_id: str, running_request_id: str) -> None:
        """Stop whatever waits or runs in a session that is gone."""
        for request_id in list(self._tasks):
            execution = self._by_id[request_id]
            if request_id == running_request_id or execution.request.session_id == session_id:
                execution.stop(StopReason.CANCELLED)

    def forget_session(self, session_id: str) -> None:
        """Drop what is kept of a session's executions: what was deleted is not told again from memory."""
        for request_id in self._tasks:
            execution = self._by_id[request_id]
            execution.is_removed |= execution.request.session_id == session_id
        for execution in [one for one in self._ended_executions if one.request.session_id == session_id]:
            self._ended_executions.remove(execution)
            self._drop_ended(execution)

    async def drain(self, grace_s: float) -> None:
        """Take no more; let what runs finish within the grace, then interrupt it and keep its part.

        What still waits for a model, and is recorded nowhere, is told at once: the next daemon can be asked.
        """
        self._is_draining = True
        refused = await self._interrupt(lambda execution: execution.leaves_nothing)
        if refused:
            logger.info("%d executions that waited were told that the daemon ends", refused)
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=grace_s)
        await self._interrupt(lambda _: True)
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    async def _interrupt(self, which: Callable[[Execution], bool]) -> int:
        """Stop those, and return how many they are. The newest go first: then nobody's position changes."""
        count = 0
        for request_id in reversed(list(self._tasks)):
            if request_id in self._tasks and which(self._by_id[request_id]):
                self._by_id[request_id].stop(StopReason.INTERRUPTED)
                count += 1
                if count % INTERRUPT_BATCH == 0:
                    await asyncio.sleep(0)
        return count

    def _start(self, request: executions_pb2.ExecuteRequest, client: ClientInfo) -> Execution:
        self._check_serving()
        existing = self._by_id.get(request.request_id)
        if existing is not None:
            return _require_same_request(existing, request)
        self.router.check(request.policy)
        hooks = self._registry.resolve(request.candidates)
        share = self._share_of(request.ByteSize(), client)
        try:
            execution = Execution(request, client, hooks, self._services, share)
        except BaseException:
            share.release()
            raise
        self._forget()
        self._by_id[request.request_id] = execution
        self.on_started(execution)
        work = self._run(execution, self._registry.lease(hooks))
        task = asyncio.create_task(work, name=f"execution {request.request_id}")
        self._tasks[request.request_id] = task
        return execution

    def _check_serving(self) -> None:
        if self._is_draining:
            raise stopping()

    def _share_of(self, size: int, client: ClientInfo) -> Share:
        """Return what holds a request of so many bytes from now on. A call that brought it counted it."""
        if (call := CALL.get()) is not None:
            return call.move(client.name)
        share = self.memory.share(client.name)
        share.take(size)
        return share

    async def _run(self, execution: Execution, give_back: Callable[[], None]) -> None:
        await execution.run()
        give_back()
        # In the same step, before anybody who waited for the end can send the next request.
        self._finish(execution)

    def _replay(self, request: executions_pb2.ExecuteRequest) -> EventLog | None:
        """Return what a session holds of this request if nothing else knows it. None: it is new."""
        if request.request_id in self._by_id:
            return None
        turn = self._services.sessions.recorded_turn(request.request_id)
        if turn is None:
            return None
        if not event_log.is_same(turn, request, fingerprint(request)):
            raise reused_error(request.request_id)
        return event_log.log_of(request.request_id, turn)

    def _recorded_turn(self, request_id: str) -> RecordedTurn:
        turn = self._services.sessions.recorded_turn(checked_id(request_id))
        if turn is None:
            raise NotFoundError(
                "EXECUTION_NOT_FOUND",
                f"No execution {request_id!r} runs, ended within the last {REMEMBERED_S / 60:.0f} minutes, "
                "or has its turn in a session.",
                request_id=request_id,
            )
        return turn

    @contextmanager
    def _attach_stream(self, execution: Execution) -> Generator[None, None, None]:
        execution.stream_count += 1
        try:
            yield
        finally:
            execution.stream_count -= 1
            goes_on = execution.request.on_disconnect == executions_pb2.ON_DISCONNECT_CONTINUE
            if not execution.stream_count and not goes_on and execution.ended_s is None:
                execution.stop(StopReason.CANCELLED)

    def _finish(self, execution: Execution) -> None:
        request_id = execution.request.request_id
        del self._tasks[request_id]
        self.on_ended(execution)
        failed_early = execution.log.error is not None and not execution.has_begun
        if failed_early or execution.is_removed:
            # It left nothing behind: the same request may be sent again, and is then tried anew.
            self._drop(execution)
            return
        self._ended_executions.append(execution)
        self._ended_bytes += execution.share.size
        self._forget()

    def _forget(self) -> None:
        oldest_kept_s = time.monotonic() - REMEMBERED_S
        while self._ended_executions:
            oldest = self._ended_executions[0]
            too_many = len(self._ended_executions) > REMEMBERED_COUNT or self._ended_bytes > REMEMBERED_BYTES
            if not too_many and (oldest.ended_s or 0) >= oldest_kept_s:
                break
            self._drop_oldest()

    def _reclaim(self, missing: int) -> None:
        """Forget what ended first, until so many bytes are free."""
        enough = self._ended_bytes - missing
        while self._ended_executions and self._ended_bytes > enough:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._drop_ended(self._ended_executions.popleft())

    def _drop_ended(self, execution: Execution) -> None:
        self._ended_bytes -= execution.share.size
        self._drop(execution)

    def _drop(self, execution: Execution) -> None:
        del self._by_id[execution.request.request_id]
        execution.share.release()


def _require_same_request(known: Execution, request: executions_pb2.ExecuteRequest) -> Execution:
    if known.fingerprint == fingerprint(request):
        return known
    raise reused_error(request.request_id)
