"""What the lines of a plot go through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from oblix.v1 import monitor_pb2, routing_pb2

Point = tuple[float, float]

LONGEST_GAP_S = 15.0
"""An idle daemon samples every few seconds; after so long without one the line ends."""
MOST_ENDPOINTS = 5
BLUE, ORANGE, GREEN, PURPLE, OURS = "#1f6fb4", "#c05a00", "#2a8a3e", "#8054a8", "#c9def0"
_DASHES = ("", "6 3", "2 2", "8 3 2 3", "1 3")


@dataclass(frozen=True, slots=True)
class Series:
    """A line: pieces of it, where what is between was not known. Dashes tell it apart where colors don't."""

    name: str
    color: str
    dashes: str = ""
    is_filled: bool = False
    runs: Sequence[Sequence[Point]] = field(default_factory=list)
    outages: Sequence[tuple[float, float]] = ()
    """From when to when an endpoint could not be reached."""


def load(snapshots: Sequence[monitor_pb2.Snapshot]) -> list[Series]:
    """CPU with our own models' part of it, memory, and the busiest graphics processor."""
    found = (
        Series("CPU of our own models", OURS, is_filled=True, runs=_runs(snapshots, _of("own_cpu_percent"))),
        Series("CPU", BLUE, runs=_runs(snapshots, _of("cpu_percent"))),
        Series("memory", ORANGE, _DASHES[1], runs=_runs(snapshots, _of("memory_percent"))),
        Series("GPU", GREEN, _DASHES[2], runs=_runs(snapshots, _gpu)),
    )
    return [series for series in found if series.runs]


def network(snapshots: Sequence[monitor_pb2.Snapshot]) -> list[Series]:
    """Return the time to connect to each endpoint, and when it could not be reached."""
    names = {
        endpoint.endpoint: None for snapshot in snapshots for endpoint in snapshot.connectivity.endpoints
    }
    colors = (BLUE, ORANGE, GREEN, PURPLE, "#555555")
    found = (
        Series(
            name.partition("://")[2],
            color,
            dashes,
            runs=_runs(snapshots, _latency(name)),
            outages=_outages(snapshots, name),
        )
        for name, color, dashes in zip(list(names)[:MOST_ENDPOINTS], colors, _DASHES, strict=False)
    )
    return [series for series in found if series.runs or series.outages]


def spans(
    snapshots: Iterable[monitor_pb2.Snapshot], state: Callable[[monitor_pb2.Snapshot], int]
) -> list[tuple[float, float, int]]:
    """Yield from when to when each state held. Time without samples belongs to none."""
    found: list[tuple[float, float, int]] = []
    for snapshot in snapshots:
        moment, now = _moment(snapshot), state(snapshot)
        if found and moment - found[-1][1] <= LONGEST_GAP_S:
            start, _, before = found[-1]
            found[-1] = (start, moment, before)
            if before == now:
                continue
        found.append((moment, moment, now))
    return found


def _runs(
    snapshots: Iterable[monitor_pb2.Snapshot], value: Callable[[monitor_pb2.Snapshot], float | None]
) -> list[list[Point]]:
    runs: list[list[Point]] = []
    is_broken = True
    for snapshot in snapshots:
        y, x = value(snapshot), _moment(snapshot)
        if y is None:
            is_broken = True
            continue
        if is_broken or x - runs[-1][-1][0] > LONGEST_GAP_S:
            runs.append([])
        runs[-1].append((x, y))
        is_broken = False
    return runs


def _of(name: str) -> Callable[[monitor_pb2.Snapshot], float | None]:
    def read(snapshot: monitor_pb2.Snapshot) -> float | None:
        known = {field.name: value for field, value in snapshot.resources.ListFields()}
        return known.get(name)

    return read


def _gpu(snapshot: monitor_pb2.Snapshot) -> float | None:
    known = [gpu.utilization for gpu in snapshot.resources.gpus if gpu.HasField("utilization")]
    return 100.0 * max(known) if known else None


def _latency(name: str) -> Callable[[monitor_pb2.Snapshot], float | None]:
    def read(snapshot: monitor_pb2.Snapshot) -> float | None:
        for endpoint in snapshot.connectivity.endpoints:
            if endpoint.endpoint == name and endpoint.HasField("latency"):
                return endpoint.latency
        return None

    return read


def _outages(snapshots: Iterable[monitor_pb2.Snapshot], name: str) -> list[tuple[float, float]]:
    def state(snapshot: monitor_pb2.Snapshot) -> int:
        found = (one.state for one in snapshot.connectivity.endpoints if one.endpoint == name)
        return next(found, routing_pb2.CONNECTIVITY_STATE_UNSPECIFIED)

    held = spans(snapshots, state)
    return [(start, end) for start, end, now in held if now == routing_pb2.CONNECTIVITY_STATE_DISCONNECTED]


def _moment(snapshot: monitor_pb2.Snapshot) -> float:
    return snapshot.sample_time.ToMilliseconds() / 1e3
