"""All executions of the daemon: started once per request_id, attached to, listed, cancelled, drained."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager

from oblix.v1 import executions_pb2 as pb
from oblix.v1 import routing_pb2

from oblixd.errors import AlreadyExistsError, NotFoundError, UnavailableError
from oblixd.execution import route
from oblixd.execution.cooldown import Cooldowns
from oblixd.execution.execution import Execution, Rooms
from oblixd.execution.requests import checked
from oblixd.execution.scope import Stop
from oblixd.execution.turns import TurnQueue
from oblixd.models.registry import Registry
from oblixd.sessions import Sessions

REMEMBERED_S = 600.0
"""An execution can be attached to for this long after its end."""
REMEMBERED_BYTES = 64 << 20
"""The text of ended executions that is kept at most; the oldest go first."""
REMEMBERED_COUNT = 1000

Events = AsyncGenerator[pb.ExecuteResponse, None]


class Executions:
    """The executions that wait, run, or ended lately."""

    def __init__(self, registry: Registry, sessions: Sessions, monitor: route.Snapshots) -> None:
        self._registry = registry
        self.cooldowns = Cooldowns()
        """Which models are left alone for a while."""
        self._rooms = Rooms(sessions, route.Router(monitor, self.cooldowns), TurnQueue())
        self._known: dict[str, Execution] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ended: deque[Execution] = deque()
        self._ended_bytes = 0
        self._draining = False

    @property
    def running_count(self) -> int:
        """How many wait or run."""
        return len(self._tasks)

    async def execute(self, request: pb.ExecuteRequest) -> Events:
        """Start the execution, or attach to the one that has its request_id, and stream it."""
        execution = self._start(checked(request))
        with self._attached(execution):
            async for event in execution.log.read():
                yield event

    async def attach(self, request_id: str, offset: int) -> Events:
        """Stream an execution without the first `offset` bytes of its text."""
        execution = self._get(request_id)
        with self._attached(execution):
            async for event in execution.log.read(offset):
                yield event

    async def cancel(self, request_id: str) -> pb.Execution:
        """Cancel an execution and wait for its end. One that has ended stays as it was."""
        execution = self._get(request_id)
        execution.stop(Stop.CANCELLED)
        if task := self._tasks.get(request_id):
            await asyncio.wait([task])
        return _summary(execution)

    def list(self, session_id: str) -> list[pb.Execution]:
        """Those of a session, or all; oldest first."""
        self._forget()
        known = self._known.values()
        return [_summary(known_) for known_ in known if session_id in ("", known_.request.session_id)]

    def explain(self, request: pb.ExecuteRequest) -> routing_pb2.RoutingDecision:
        """The decision that Execute would make now."""
        request = checked(request)
        hooks = self._registry.resolve(request.candidates)
        session = self._rooms.sessions.get(request.session_id) if request.session_id else None
        local_only = session is not None and session.local_only
        return route.to_wire(self._rooms.router.route(request, local_only, hooks), hooks)

    def session_deleted(self, session_id: str, running_request_id: str) -> None:
        """Stop whatever waits or runs in a session that is gone."""
        for request_id in list(self._tasks):
            execution = self._known[request_id]
            if request_id == running_request_id or execution.request.session_id == session_id:
                execution.stop(Stop.CANCELLED)

    async def drain(self, grace_s: float) -> None:
        """Take no more; let what runs finish within the grace, then interrupt it and keep its part."""
        self._draining = True
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=grace_s)
        for request_id in self._tasks:
            self._known[request_id].stop(Stop.INTERRUPTED)
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    def _start(self, request: pb.ExecuteRequest) -> Execution:
        if self._draining:
            raise UnavailableError(
                "DAEMON_STOPPING", "oblixd is stopping: send the prompt again in a moment."
            )
        known = self._known.get(request.request_id)
        if known is not None:
            return _same(known, request)
        route.policy_of(request.policy)
        if request.session_id:
            self._rooms.sessions.get(request.session_id)
        execution = Execution(request, self._registry.resolve(request.candidates), self._rooms)
        self._forget()
        self._known[request.request_id] = execution
        task = asyncio.create_task(execution.run(), name=f"execution {request.request_id}")
        self._tasks[request.request_id] = task
        task.add_done_callback(lambda _: self._ended_one(execution))
        return execution

    def _get(self, request_id: str) -> Execution:
        execution = self._known.get(request_id)
        if execution is None:
            raise NotFoundError(
                "EXECUTION_NOT_FOUND",
                f"No execution {request_id[:128]!r} runs or ended within the last "
                f"{REMEMBERED_S / 60:.0f} minutes. What it recorded is in its session.",
                request_id=request_id[:128],
            )
        return execution

    @contextmanager
    def _attached(self, execution: Execution) -> Generator[None, None, None]:
        execution.attached += 1
        try:
            yield
        finally:
            execution.attached -= 1
            goes_on = execution.request.on_disconnect == pb.ON_DISCONNECT_CONTINUE
            if not execution.attached and not goes_on and execution.ended_s is None:
                execution.stop(Stop.CANCELLED)

    def _ended_one(self, execution: Execution) -> None:
        del self._tasks[execution.request.request_id]
        self._ended.append(execution)
        self._ended_bytes += execution.log.size
        self._forget()

    def _forget(self) -> None:
        oldest_kept_s = time.monotonic() - REMEMBERED_S
        while self._ended:
            oldest = self._ended[0]
            too_many = len(self._ended) > REMEMBERED_COUNT or self._ended_bytes > REMEMBERED_BYTES
            if not too_many and (oldest.ended_s or 0) >= oldest_kept_s:
                break
            self._ended.popleft()
            self._ended_bytes -= oldest.log.size
            del self._known[oldest.request.request_id]


def _same(known: Execution, request: pb.ExecuteRequest) -> Execution:
    if known.request == request:
        return known
    raise AlreadyExistsError(
        "REQUEST_ID_REUSED",
        f"request_id {request.request_id!r} belongs to another request: use a new one for each prompt.",
        request_id=request.request_id,
    )


def _summary(execution: Execution) -> pb.Execution:
    result = pb.Execution(
        request_id=execution.request.request_id,
        session_id=execution.request.session_id,
        state=execution.state,
        model=execution.model,
        delta_bytes=execution.log.size,
        attached_streams=execution.attached,
    )
    result.create_time.FromMicroseconds(round(execution.created_s * 1e6))
    return result
