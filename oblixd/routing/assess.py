"""From measured numbers to states: each value is held against its threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass

from oblixd.routing.policy import ConnectivityThresholds, Policy, ResourceThresholds
from oblixd.routing.types import ConnectivityState, Machine, Reading, ResourceState


@dataclass(frozen=True, slots=True)
class Situation:
    """The state of the machine and of its network, and the numbers behind it."""

    resources: ResourceState
    resource_readings: tuple[Reading, ...]
    connectivity: ConnectivityState
    connectivity_readings: tuple[Reading, ...]

    @property
    def resource_target(self) -> str:
        """What the machine's state asks for."""
        if self.resources >= ResourceState.CONSTRAINED:
            return "cloud"
        has_gpu = any(reading.name == "gpu_percent" for reading in self.resource_readings)
        return "local_gpu" if has_gpu else "local_cpu"

    @property
    def connectivity_target(self) -> str:
        """What the network's state asks for."""
        if self.connectivity is ConnectivityState.DISCONNECTED:
            return "local"
        return "hybrid" if self.connectivity is ConnectivityState.DEGRADED else "cloud"


def assess(machine: Machine, policy: Policy) -> Situation:
    """Hold every known value against the policy. What is not known says nothing."""
    resources = _resource_readings(machine, policy.resources)
    connectivity = _connectivity_readings(machine, policy.connectivity)
    return Situation(
        max((state for state, _ in resources), default=ResourceState.UNKNOWN),
        tuple(reading for _, reading in resources),
        max((state for state, _ in connectivity), default=ConnectivityState.UNKNOWN),
        tuple(reading for _, reading in connectivity),
    )


def _resource_readings(machine: Machine, limits: ResourceThresholds) -> list[tuple[ResourceState, Reading]]:
    cpu = _rest(machine.cpu_percent, machine.own_cpu_percent)
    load = _rest(machine.load_average, machine.own_load_average)
    values = (
        ("cpu_percent", cpu, limits.cpu_threshold, limits.critical_cpu),
        ("memory_percent", machine.memory_percent, limits.memory_threshold, limits.critical_memory),
        ("load_average", load, limits.load_threshold, math.inf),
        ("gpu_percent", machine.gpu_percent, limits.gpu_threshold, limits.critical_gpu),
    )
    return [
        _held(name, value, constrained, critical, machine.age_s)
        for name, value, constrained, critical in values
        if value is not None and math.isfinite(value)
    ]


def _rest(total: float | None, own: float | None) -> float | None:
    """What is left without our own models; they are sampled a moment apart, so it may seem negative."""
    if total is None or own is None or not math.isfinite(own):
        return total
    return max(0.0, total - max(0.0, own))


def _held(
    name: str, value: float, constrained: float, critical: float, age_s: float | None
) -> tuple[ResourceState, Reading]:
    if value >= critical:
        return ResourceState.CRITICAL, Reading(name, value, critical, age_s, beyond=True)
    if value >= constrained:
        return ResourceState.CONSTRAINED, Reading(name, value, constrained, age_s, beyond=True)
    return ResourceState.AVAILABLE, Reading(name, value, constrained, age_s, beyond=False)


def _connectivity_readings(
    machine: Machine, limits: ConnectivityThresholds
) -> list[tuple[ConnectivityState, Reading]]:
    age_s = machine.network_age_s
    found: list[tuple[ConnectivityState, Reading]] = []
    if machine.reachable is not None:
        state = ConnectivityState.OPTIMAL if machine.reachable else ConnectivityState.DISCONNECTED
        reading = Reading("reachable", float(machine.reachable), 1.0, age_s, beyond=not machine.reachable)
        found.append((state, reading))
    values = (
        ("latency_ms", machine.latency_ms, limits.latency_threshold, 1.0),
        ("packet_loss_percent", machine.packet_loss_percent, limits.packet_loss_threshold, 1.0),
        ("bandwidth_mbps", machine.bandwidth_mbps, limits.bandwidth_threshold, -1.0),
    )
    for name, value, limit, bad_side in values:
        if value is not None and math.isfinite(value):
            beyond = (value - limit) * bad_side > 0
            state = ConnectivityState.DEGRADED if beyond else ConnectivityState.OPTIMAL
            found.append((state, Reading(name, value, limit, age_s, beyond)))
    return found
