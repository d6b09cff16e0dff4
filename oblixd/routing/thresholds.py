"""Which values are held against which limits, and how calmly. What the fold found, as states with numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from oblixd.routing.hysteresis import Gate, Held, Hysteresis, Limit, S
from oblixd.routing.inputs import (
    ConnectivityState,
    MachineSample,
    MachineState,
    NetworkSample,
    NetworkState,
    Reading,
    ResourceState,
)
from oblixd.routing.policy import ConnectivityThresholds, ResourceThresholds

USE = Hysteresis(smooth_s=6.0, enter_s=3.0, leave_s=30.0, margin=10.0)
"""CPU and GPU use jump by tens of percent from one second to the next. A compiler that starts counts after
about twelve seconds; the second in which a browser opens a page does not. What starts and stops all the time,
as a test suite does, counts throughout: hence half a minute of rest before it is over."""
MEMORY = Hysteresis(enter_s=2.0, leave_s=10.0, margin=2.0)
"""A level, not a rate: it hardly jumps, and who took it needs a while to give it back."""
LOAD = Hysteresis(leave_s=30.0, margin_share=0.1)
"""The kernel has smoothed it over a minute already."""
LATENCY = Hysteresis(enter_s=2.0, leave_s=10.0, margin_share=0.1)
"""A median over several attempts: one slow handshake is out of it already."""
LOSS = Hysteresis(enter_s=2.0, leave_s=10.0, margin_share=0.2)
"""A share of few attempts: each one moves it by percents."""
BANDWIDTH = Hysteresis(leave_s=10.0, margin_share=0.1)
"""Told by bulk transfers, minutes apart: nothing is gained by waiting for another."""
REACHABLE = Hysteresis(leave_s=2.0)
"""Who measures it has seen more than one failure already, so offline counts at once. Two seconds of being
back keep a link that comes and goes from drawing prompts."""

CACHED = 256
"""Distinct thresholds whose limits are kept."""


@lru_cache(CACHED)
def machine_limits(thresholds: ResourceThresholds) -> tuple[Limit[MachineSample], ...]:
    """List the limits for a machine's values; the lower limit of a value stands before its critical one."""
    constrained, critical = ResourceState.CONSTRAINED, ResourceState.CRITICAL
    return (
        Limit("cpu_percent", _cpu, thresholds.cpu_threshold, constrained, USE),
        Limit("cpu_percent", _cpu, thresholds.critical_cpu, critical, USE),
        Limit("memory_percent", _memory, thresholds.memory_threshold, constrained, MEMORY),
        Limit("memory_percent", _memory, thresholds.critical_memory, critical, MEMORY),
        Limit("load_average", _load, thresholds.load_threshold, constrained, LOAD),
        Limit("gpu_percent", _gpu, thresholds.gpu_threshold, constrained, USE),
        Limit("gpu_percent", _gpu, thresholds.critical_gpu, critical, USE),
    )


@lru_cache(CACHED)
def network_limits(thresholds: ConnectivityThresholds) -> tuple[Limit[NetworkSample], ...]:
    """Return what a network's values are held against."""
    degraded, disconnected = ConnectivityState.DEGRADED, ConnectivityState.DISCONNECTED
    latency, loss = thresholds.latency_threshold, thresholds.packet_loss_threshold
    bandwidth = thresholds.bandwidth_threshold
    return (
        Limit("reachable", _reachable, 1.0, disconnected, REACHABLE, is_least=True, counts_at=False),
        Limit("latency_ms", _latency, latency, degraded, LATENCY, counts_at=False),
        Limit("packet_loss_percent", _loss, loss, degraded, LOSS, counts_at=False),
        Limit("bandwidth_mbps", _bandwidth, bandwidth, degraded, BANDWIDTH, is_least=True, counts_at=False),
    )


def machine_state(
    history: Held, limits: Sequence[Limit[MachineSample]], last: MachineSample | None, now_s: float
) -> MachineState:
    """Return what the fold has found of this machine; `last` is its newest sample."""
    age_s = None if last is None else now_s - last.time_s
    for_s = None if history.since_s is None else now_s - history.since_s
    readings = _readings(history.gates, limits, age_s)
    available = None if last is None else last.memory_available_bytes
    return MachineState(ResourceState(history.state), for_s, readings, available)


def network_state(
    history: Held, limits: Sequence[Limit[NetworkSample]], last: NetworkSample | None, now_s: float
) -> NetworkState:
    """Return what the fold has found of the way to a server; `last` is its newest sample."""
    age_s = None if last is None or last.observed_s is None else now_s - last.observed_s
    for_s = None if history.since_s is None else now_s - history.since_s
    return NetworkState(ConnectivityState(history.state), for_s, _readings(history.gates, limits, age_s))


def _readings(gates: Sequence[Gate], limits: Sequence[Limit[S]], age_s: float | None) -> tuple[Reading, ...]:
    """Make a reading of each known value, with its critical limit if it is beyond that."""
    found: dict[str, Reading] = {}
    for gate, limit in zip(gates, limits, strict=False):
        if gate.value is not None and (gate.is_open or limit.name not in found):
            found[limit.name] = Reading(limit.name, gate.value, limit.at, age_s, gate.is_open)
    return tuple(found.values())


def _rest(total: float | None, own: float | None) -> float | None:
    """Subtract our own models' share; samples are a moment apart, so the rest may seem negative."""
    if total is None or own is None or not math.isfinite(own):
        return total
    return max(0.0, total - max(0.0, own))


def _cpu(sample: MachineSample) -> float | None:
    return _rest(sample.cpu_percent, sample.own_cpu_percent)


def _memory(sample: MachineSample) -> float | None:
    return sample.memory_percent


def _load(sample: MachineSample) -> float | None:
    return _rest(sample.load_average, sample.own_load_average)


def _gpu(sample: MachineSample) -> float | None:
    return _rest(sample.gpu_percent, sample.own_gpu_percent)


def _reachable(sample: NetworkSample) -> float | None:
    return None if sample.reachable is None else float(sample.reachable)


def _latency(sample: NetworkSample) -> float | None:
    return sample.latency_ms


def _loss(sample: NetworkSample) -> float | None:
    return sample.packet_loss_percent


def _bandwidth(sample: NetworkSample) -> float | None:
    return sample.bandwidth_mbps
