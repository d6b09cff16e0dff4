"""Fills routing's inputs from the other rooms, and turns its decision into the contract's words."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from google.protobuf.message import Message as ProtoMessage
from oblix.v1 import executions_pb2, routing_pb2

from oblixd.errors import FailedPreconditionError
from oblixd.execution.cooldown import Cooldowns
from oblixd.models.base import State
from oblixd.models.registry import Hook
from oblixd.monitor import Snapshot
from oblixd.routing import (
    Candidate,
    ConnectivityState,
    Decision,
    Location,
    Machine,
    Needs,
    Policy,
    Reading,
    ResourceState,
    Verdict,
    decide,
    policy_from,
)
from oblixd.routing.assess import assess

_LOCATION = {Location.LOCAL: routing_pb2.LOCATION_LOCAL, Location.CLOUD: routing_pb2.LOCATION_CLOUD}
_RESOURCES = {
    ResourceState.UNKNOWN: routing_pb2.RESOURCE_STATE_UNSPECIFIED,
    ResourceState.AVAILABLE: routing_pb2.RESOURCE_STATE_AVAILABLE,
    ResourceState.CONSTRAINED: routing_pb2.RESOURCE_STATE_CONSTRAINED,
    ResourceState.CRITICAL: routing_pb2.RESOURCE_STATE_CRITICAL,
}
_CONNECTIVITY = {
    ConnectivityState.UNKNOWN: routing_pb2.CONNECTIVITY_STATE_UNSPECIFIED,
    ConnectivityState.OPTIMAL: routing_pb2.CONNECTIVITY_STATE_OPTIMAL,
    ConnectivityState.DEGRADED: routing_pb2.CONNECTIVITY_STATE_DEGRADED,
    ConnectivityState.DISCONNECTED: routing_pb2.CONNECTIVITY_STATE_DISCONNECTED,
}
MAX_TOLD = 10
"""Candidates that a refusal tells of; ExplainRoute tells of all."""


class Snapshots(Protocol):
    """Where the latest measurements are."""

    def latest(self) -> Snapshot:
        """What was measured last. Measures nothing."""


class Router:
    """Where requests go, by the latest measurements and by who cools down."""

    def __init__(self, monitor: Snapshots, cooldowns: Cooldowns) -> None:
        self._monitor = monitor
        self.cooldowns = cooldowns

    def route(
        self,
        request: executions_pb2.ExecuteRequest,
        local_only: bool,
        hooks: Sequence[Hook],
        too_short: Callable[[Hook], bool] | None = None,
    ) -> Decision:
        """Decide where a request goes. `local_only` is the session's; the request's own counts too.

        Models of which `too_short` says that their context window is go last.
        """
        needs = Needs(local_only=local_only or request.local_only, pin=request.model)
        candidates = [self._candidate(hook, too_short) for hook in hooks]
        return decide(needs, candidates, _machine(self._monitor.latest()), policy_of(request.policy))

    def _candidate(self, hook: Hook, too_short: Callable[[Hook], bool] | None) -> Candidate:
        status, reason = hook.connection.status(), ""
        if status.state is State.UNAVAILABLE:
            reason = status.reason
        elif cooling := self.cooldowns.of(key(hook)):
            reason = f"It cools down for {cooling.left_s:.0f} s more, after failures: {cooling.why}"
        elif too_short and too_short(hook):
            reason = (
                f"Its context window of {hook.connection.context_window:,} tokens is too short for all of it."
            )
        return Candidate(
            key=key(hook),
            model=hook.id,
            location=Location(hook.connection.location.value),
            available=not reason,
            unavailable_reason=reason,
        )


def policy_of(given: routing_pb2.RoutingPolicy) -> Policy:
    """The request's thresholds. Raises InvalidArgumentError for one out of range."""
    return policy_from(_given(given.resources), _given(given.connectivity))


def ranked(decision: Decision, hooks: Sequence[Hook]) -> list[Hook]:
    """The hooks that may be tried, best first. Raises FailedPreconditionError NO_MODEL_ALLOWED for none."""
    by_key = {key(hook): hook for hook in hooks}
    result = [by_key[verdict.key] for verdict in decision.ranked if verdict.rank]
    if result:
        return result
    told = "; ".join(f"{verdict.model}: {verdict.reason}" for verdict in decision.ranked[:MAX_TOLD])
    more = len(decision.ranked) - MAX_TOLD
    raise FailedPreconditionError(
        "NO_MODEL_ALLOWED",
        f"No model may take this prompt. {told or 'No model is hooked or configured.'}"
        + (f"; and {more} more" if more > 0 else ""),
        candidates=len(decision.ranked),
    )


def key(hook: Hook) -> str:
    """What a hook is called in a decision: a configured model has no handle."""
    return hook.handle or hook.id


def to_wire(decision: Decision, hooks: Sequence[Hook]) -> routing_pb2.RoutingDecision:
    """The decision as the contract tells it."""
    first = decision.ranked[0].model if decision.ranked and decision.ranked[0].rank else ""
    handles = {key(hook): hook.handle for hook in hooks}
    return routing_pb2.RoutingDecision(
        model=first,
        rule=decision.rule,
        reason=decision.reason,
        resource_state=_RESOURCES[decision.resource_state],
        resource_target=decision.resource_target,
        connectivity_state=_CONNECTIVITY[decision.connectivity_state],
        connectivity_target=decision.connectivity_target,
        readings=[_reading(reading) for reading in decision.readings],
        candidates=[_verdict(verdict, handles[verdict.key]) for verdict in decision.ranked],
    )


def assessed(
    now: Snapshot,
) -> tuple[routing_pb2.ResourceState.ValueType, routing_pb2.ConnectivityState.ValueType]:
    """The machine's and the network's state under the default thresholds."""
    situation = assess(_machine(now), Policy())
    return _RESOURCES[situation.resources], _CONNECTIVITY[situation.connectivity]


def _machine(now: Snapshot) -> Machine:
    resources, network = now.resources, now.connectivity
    return Machine(
        cpu_percent=resources.cpu_percent,
        memory_percent=resources.memory_percent,
        load_average=resources.load_average,
        own_cpu_percent=resources.own_cpu_percent,
        own_load_average=now.own_load_average,
        age_s=None if now.time_s is None else time.monotonic() - now.monotonic_s,
        reachable=network.reachable,
        latency_ms=network.latency_ms,
        packet_loss_percent=network.packet_loss_percent,
        bandwidth_mbps=network.bandwidth_mbps,
    )


def _given(thresholds: ProtoMessage) -> Mapping[str, object]:
    return {field.name: value for field, value in thresholds.ListFields()}


def _reading(reading: Reading) -> routing_pb2.Reading:
    result = routing_pb2.Reading(name=reading.name, value=reading.value, threshold=reading.threshold)
    if reading.age_s is not None:
        result.age.FromMicroseconds(round(reading.age_s * 1e6))
    return result


def _verdict(verdict: Verdict, handle: str) -> routing_pb2.CandidateVerdict:
    return routing_pb2.CandidateVerdict(
        model=verdict.model,
        handle=handle,
        location=_LOCATION[verdict.location],
        rank=verdict.rank,
        rule=verdict.rule,
        reason=verdict.reason,
    )
