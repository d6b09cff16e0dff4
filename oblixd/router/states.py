"""The states of machine and network, followed sample by sample under each policy's own thresholds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from oblixd.monitor import Connectivity, Snapshot
from oblixd.routing import (
    NOTHING,
    ConnectivityThresholds,
    Limit,
    MachineSample,
    MachineState,
    NetworkSample,
    NetworkState,
    Policy,
    ResourceThresholds,
    Situation,
    follow,
    machine_limits,
    machine_state,
    network_limits,
    network_state,
)

REPLAY_S = 300.0
"""What a policy that is seen first is told of the past: more than any state takes to change."""
TRACKERS = 256
"""Distinct thresholds, each at one endpoint, that are followed. The one that was asked for last goes last."""

S = TypeVar("S", MachineSample, NetworkSample)


class Snapshots(Protocol):
    """Where the measurements are."""

    def latest(self) -> Snapshot:
        """Return what was measured last. Measures nothing."""

    def history(self, seconds: float) -> Sequence[Snapshot]:
        """Return what was measured in the last seconds, oldest first."""


class _Tracker(Generic[S]):
    """One fold over the samples."""

    def __init__(self, limits: Sequence[Limit[S]], sample_of: Callable[[Snapshot], S | None]) -> None:
        self.limits: Sequence[Limit[S]] = limits
        self.hysteresis = NOTHING
        self.last: S | None = None
        self._sample_of: Callable[[Snapshot], S | None] = sample_of
        self._last_snapshot: Snapshot | None = None

    def catch_up(self, newest: Snapshot, monitor: Snapshots, now_s: float) -> None:
        """Take in what was measured since the last time. `newest`: the latest snapshot."""
        if newest is self._last_snapshot:
            return
        past_s: float = REPLAY_S if self.hysteresis.time_s is None else now_s - self.hysteresis.time_s
        for snapshot in (*monitor.history(past_s), newest):
            self._take(snapshot, now_s)
        self._last_snapshot = newest

    def _take(self, snapshot: Snapshot, now_s: float) -> None:
        sample = self._sample_of(snapshot) if snapshot.time_s is not None else None
        if sample is None or sample == self.last:
            return
        if sample.time_s == self.hysteresis.time_s:
            # What was noticed between two samples is told with the time of the last one.
            sample = replace(sample, time_s=now_s)
        if self.last is None or sample.time_s > self.last.time_s:
            self.hysteresis, self.last = follow(self.hysteresis, sample, self.limits), sample


@dataclass(frozen=True, slots=True)
class Assessment:
    """The states at one moment, under one policy."""

    at_s: float
    """The moment, on the monotonic clock."""
    machine: MachineState
    network: NetworkState
    """The network as a whole."""
    endpoints: Mapping[str, NetworkState]
    """The way to each model server, by its origin."""


def assessments(snapshots: Iterable[Snapshot], policy: Policy) -> Iterator[tuple[Snapshot, Assessment]]:
    """Yield each snapshot of a series with the states at its moment."""
    past = _Replay()
    tracker = StateTracker(past)
    for past.snapshot in snapshots:
        yield past.snapshot, tracker.assessment(policy, past.snapshot.monotonic_s)


class StateTracker:
    """Reads the monitor as it is asked. Nothing runs in between."""

    def __init__(self, monitor: Snapshots) -> None:
        self._monitor = monitor
        self._machines: OrderedDict[ResourceThresholds, _Tracker[MachineSample]] = OrderedDict()
        self._networks: OrderedDict[tuple[ConnectivityThresholds, str], _Tracker[NetworkSample]] = (
            OrderedDict()
        )

    def situation(self, policy: Policy, now_s: float) -> Situation:
        """Judge this machine and the whole network, at a moment of the monotonic clock."""
        return Situation(self.machine(policy.resources, now_s), self.network(policy.connectivity, "", now_s))

    def assessment(self, policy: Policy, now_s: float) -> Assessment:
        """Judge all that the latest snapshot covers."""
        origins = self._monitor.latest().endpoints
        now = self.situation(policy, now_s)
        networks = {origin: self.network(policy.connectivity, origin, now_s) for origin in origins}
        return Assessment(now_s, now.machine, now.network, networks)

    def machine(self, given: ResourceThresholds, now_s: float) -> MachineState:
        """Judge this machine."""
        tracker = _tracker_of(self._machines, given, lambda: _Tracker(machine_limits(given), _machine_sample))
        tracker.catch_up(self._monitor.latest(), self._monitor, now_s)
        return machine_state(tracker.hysteresis, tracker.limits, tracker.last, now_s)

    def network(self, given: ConnectivityThresholds, origin: str, now_s: float) -> NetworkState:
        """Return the way to a model's server; to one that is not watched, the network as a whole."""
        newest = self._monitor.latest()
        at = origin if origin in newest.endpoints else ""
        tracker = _tracker_of(
            self._networks,
            (given, at),
            lambda: _Tracker(network_limits(given), lambda snapshot: _network_sample(snapshot, at)),
        )
        tracker.catch_up(newest, self._monitor, now_s)
        return network_state(tracker.hysteresis, tracker.limits, tracker.last, now_s)


class _Replay:
    """A moment of a series as if it were now."""

    snapshot: Snapshot

    def latest(self) -> Snapshot:
        return self.snapshot

    def history(self, _: float) -> Sequence[Snapshot]:
        return ()


K = TypeVar("K")
T = TypeVar("T")


def _tracker_of(trackers: OrderedDict[K, T], key: K, make: Callable[[], T]) -> T:
    """Return the tracker of a key, made if there is none; the one unused for longest makes room."""
    if key not in trackers:
        trackers[key] = make()
    trackers.move_to_end(key)
    if len(trackers) > TRACKERS:
        trackers.popitem(last=False)
    return trackers[key]


def _machine_sample(snapshot: Snapshot) -> MachineSample:
    resources = snapshot.resources
    gpus = [
        (gpu.utilization, gpu.own_utilization or 0.0) for gpu in resources.gpus if gpu.utilization is not None
    ]
    used, own = max(gpus, key=lambda gpu: gpu[0] - gpu[1], default=(None, None))
    return MachineSample(
        time_s=snapshot.monotonic_s,
        cpu_percent=resources.cpu_percent,
        memory_percent=resources.memory_percent,
        load_average=resources.load_average,
        gpu_percent=None if used is None else 100.0 * used,
        own_cpu_percent=resources.own_cpu_percent,
        own_load_average=snapshot.own_load_average,
        own_gpu_percent=None if own is None else 100.0 * own,
        memory_available_bytes=resources.memory_available_bytes,
    )


def _network_sample(snapshot: Snapshot, origin: str) -> NetworkSample | None:
    found = snapshot.endpoints.get(origin) if origin else snapshot.connectivity
    return None if found is None else _sample(found, snapshot.monotonic_s)


def _sample(network: Connectivity, time_s: float) -> NetworkSample:
    return NetworkSample(
        time_s=time_s,
        reachable=network.reachable,
        latency_ms=network.latency_ms,
        packet_loss_percent=network.packet_loss_percent,
        bandwidth_mbps=network.bandwidth_mbps,
        observed_s=None if network.age_s is None else time_s - network.age_s,
    )
