"""Routing's decision in the contract's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from oblix.v1 import routing_pb2

from oblixd.models import Hook
from oblixd.protobuf_time import duration
from oblixd.routing import ConnectivityState, Decision, Location, Reading, ResourceState, Verdict

LOCATION = {Location.LOCAL: routing_pb2.LOCATION_LOCAL, Location.CLOUD: routing_pb2.LOCATION_CLOUD}
RESOURCES = {
    ResourceState.UNKNOWN: routing_pb2.RESOURCE_STATE_UNSPECIFIED,
    ResourceState.AVAILABLE: routing_pb2.RESOURCE_STATE_AVAILABLE,
    ResourceState.CONSTRAINED: routing_pb2.RESOURCE_STATE_CONSTRAINED,
    ResourceState.CRITICAL: routing_pb2.RESOURCE_STATE_CRITICAL,
}
CONNECTIVITY = {
    ConnectivityState.UNKNOWN: routing_pb2.CONNECTIVITY_STATE_UNSPECIFIED,
    ConnectivityState.OPTIMAL: routing_pb2.CONNECTIVITY_STATE_OPTIMAL,
    ConnectivityState.DEGRADED: routing_pb2.CONNECTIVITY_STATE_DEGRADED,
    ConnectivityState.DISCONNECTED: routing_pb2.CONNECTIVITY_STATE_DISCONNECTED,
}


def to_wire(decision: Decision, hooks: Sequence[Hook]) -> routing_pb2.RoutingDecision:
    """Return the decision as the contract tells it."""
    handles = {hook.key: hook.handle for hook in hooks}
    # The candidates of one server share the readings of the network to it: each is converted once.
    all_readings = chain(decision.readings, *(verdict.readings for verdict in decision.verdicts))
    readings = {key: reading_to_wire(one) for key, one in {id(one): one for one in all_readings}.items()}
    return routing_pb2.RoutingDecision(
        model=decision.verdicts[0].model if decision.verdicts and decision.verdicts[0].rank else "",
        rule=decision.rule,
        reason=decision.reason,
        resource_state=RESOURCES[decision.machine.state],
        resource_target=decision.resource_target,
        connectivity_state=CONNECTIVITY[decision.network.state],
        connectivity_target=decision.connectivity_target,
        readings=[readings[id(reading)] for reading in decision.readings],
        candidates=[_verdict(verdict, handles[verdict.key], readings) for verdict in decision.verdicts],
        policy=decision.policy,
        policy_source=decision.policy_source,
    )


def reading_to_wire(reading: Reading) -> routing_pb2.Reading:
    """Return a number that a decision is made on."""
    return routing_pb2.Reading(
        name=reading.name,
        value=reading.value,
        threshold=reading.threshold or 0.0,
        age=None if reading.age_s is None else duration(reading.age_s),
    )


def _verdict(
    verdict: Verdict, handle: str, readings: Mapping[int, routing_pb2.Reading]
) -> routing_pb2.CandidateVerdict:
    return routing_pb2.CandidateVerdict(
        model=verdict.model,
        handle=handle,
        location=LOCATION[verdict.location],
        rank=verdict.rank,
        rule=verdict.rule,
        reason=verdict.reason,
        readings=[readings[id(reading)] for reading in verdict.readings],
    )
