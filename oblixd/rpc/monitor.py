"""MonitorService."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

from google.protobuf.duration_pb2 import Duration
from oblix.v1 import monitor_pb2, monitor_pb2_grpc, routing_pb2

from oblixd.errors import invalid_argument
from oblixd.monitor import Monitor
from oblixd.router import Assessment, Policies, StateTracker, assessments
from oblixd.routing import Policy
from oblixd.rpc.edge import Context
from oblixd.rpc.snapshots import policy_to_wire, readings_to_wire, to_wire

LONGEST_S = 900
MOST_PROMPTS = 1000
AT_ONCE = 100
"""Snapshots of the past that are put into words before others get their turn."""


def _nowhere(seconds: float) -> Sequence[monitor_pb2.RoutedPrompt]:
    return ()


class MonitorServicer(monitor_pb2_grpc.MonitorServiceServicer):
    """Translates; the monitor package measures. `prompts` gives those of the last seconds, oldest first.

    The states are those under the default one of `policies`.
    """

    def __init__(
        self,
        monitor: Monitor,
        prompts: Callable[[float], Sequence[monitor_pb2.RoutedPrompt]] = _nowhere,
        policies: Policies | None = None,
    ) -> None:
        self._monitor = monitor
        self._prompts = prompts
        self._assessor = StateTracker(monitor)
        self._policies = policies or Policies()

    @property
    def _policy(self) -> Policy:
        """The default one, as the configuration has it now."""
        return self._policies.choose(routing_pb2.RoutingPolicy(), None)

    async def GetSnapshot(
        self, request: monitor_pb2.GetSnapshotRequest, context: Context
    ) -> monitor_pb2.GetSnapshotResponse:
        states = self._states()
        return monitor_pb2.GetSnapshotResponse(
            snapshot=to_wire(self._monitor.latest(), states),
            default_policy=policy_to_wire(self._policy),
            readings=readings_to_wire(states),
        )

    async def WatchSnapshots(
        self, request: monitor_pb2.WatchSnapshotsRequest, context: Context
    ) -> AsyncIterator[monitor_pb2.WatchSnapshotsResponse]:
        async for snapshot in self._monitor.watch():
            yield monitor_pb2.WatchSnapshotsResponse(snapshot=to_wire(snapshot, self._states()))

    async def GetHistory(
        self, request: monitor_pb2.GetHistoryRequest, context: Context
    ) -> monitor_pb2.GetHistoryResponse:
        seconds = _seconds(request.duration) if request.HasField("duration") else LONGEST_S
        response = monitor_pb2.GetHistoryResponse(prompts=self._prompts(seconds)[-MOST_PROMPTS:])
        for number, told in enumerate(assessments(self._monitor.history(seconds), self._policy), 1):
            response.snapshots.append(to_wire(*told))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        return response

    def _states(self) -> Assessment:
        return self._assessor.assessment(self._policy, time.monotonic())


def _seconds(duration: Duration) -> float:
    seconds = duration.seconds + duration.nanos / 1e9
    if not 0.0 < seconds <= LONGEST_S:
        message = f"duration takes more than 0 s and at most {LONGEST_S} s; given: {seconds:g} s."
        raise invalid_argument("INVALID_DURATION", message, field="duration", limit=LONGEST_S, given=seconds)
    return seconds
