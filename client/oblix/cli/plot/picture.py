"""Lays the picture out: load, network, and where prompts went, over one line of time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from oblix.cli.plot import lanes, svg
from oblix.cli.plot.series import Series, load, network, spans
from oblix.cli.plot.svg import Frame
from oblix.v1 import monitor_pb2

WIDTH, LEFT, RIGHT = 980, 70, 210
HEAD, GAP, LOAD, NETWORK, FOOT = 62, 44, 190, 120, 40
GRID = "#e3e3e3"
TICKS = 5


def picture(history: monitor_pb2.GetHistoryResponse, seconds: float) -> str:
    """An SVG file. The time goes up to the newest sample, or to now where there is none."""
    newest = history.snapshots[-1].sample_time.ToMilliseconds() / 1e3 if history.snapshots else time.time()
    lower = lanes.height(history.prompts)
    height = HEAD + LOAD + NETWORK + 2 * GAP + lower + FOOT
    tops = HEAD, HEAD + LOAD + GAP, HEAD + LOAD + NETWORK + 2 * GAP

    def frame(number: int, tall: float, most: float) -> Frame:
        return Frame(LEFT, tops[number], WIDTH - LEFT - RIGHT, tall, newest - seconds, newest, most)

    ways = network(history.snapshots)
    slowest = max((y for way in ways for run in way.runs for _, y in run), default=0.0)
    return svg.document(
        WIDTH,
        height,
        (
            svg.text((LEFT, 24), "Oblix: load, network and where prompts went", weight="bold"),
            *_load(frame(0, LOAD, 100.0), history.snapshots),
            *_network(frame(1, NETWORK, _rounded_up(slowest)), ways, history.snapshots),
            *lanes.drawn(frame(2, lower, 1.0), history.prompts),
            *_times(frame(2, lower, 1.0)),
        ),
    )


def _load(frame: Frame, snapshots: Sequence[monitor_pb2.Snapshot]) -> Iterator[str]:
    states = spans(snapshots, lambda snapshot: snapshot.resource_state)
    yield from _bands(frame, states, {2: ("#fdf3d8", "constrained"), 3: ("#fbdedb", "critical")})
    yield from _grid(frame, "this machine, percent (shaded: constrained or critical)")
    yield from _lines(frame, load(snapshots))


def _network(
    frame: Frame, ways: Sequence[Series], snapshots: Sequence[monitor_pb2.Snapshot]
) -> Iterator[str]:
    states = spans(snapshots, lambda snapshot: snapshot.connectivity.state)
    yield from _bands(frame, states, {2: ("#fdf3d8", "degraded"), 3: ("#fbdedb", "disconnected")})
    yield from _grid(frame, "time to connect, milliseconds (shaded: degraded or disconnected)")
    if not ways:
        middle = (frame.left + frame.width / 2, frame.top + frame.height / 2 - 6)
        yield svg.text(middle, "no cloud model was reached or tried", anchor="middle", color="#888888")
    yield from _lines(frame, ways)


def _bands(
    frame: Frame, found: Sequence[tuple[float, float, int]], looks: dict[int, tuple[str, str]]
) -> Iterator[str]:
    for start, end, state in found:
        if state in looks:
            (left, _), (right, _) = frame.at(start, 0.0), frame.at(end, 0.0)
            color, name = looks[state]
            yield svg.box((left, frame.top), (max(1.0, right - left), frame.height), color, name)


def _grid(frame: Frame, title: str) -> Iterator[str]:
    yield svg.text((frame.left, frame.top - 8), title, weight="bold")
    for part in range(TICKS):
        value = frame.to_y * part / (TICKS - 1)
        left, y = frame.at(frame.from_x, value)
        yield svg.line([(left, y), (left + frame.width, y)], GRID, width=1)
        yield svg.text((left - 8, y + 4), f"{value:g}", anchor="end")


def _lines(frame: Frame, found: Sequence[Series]) -> Iterator[str]:
    for number, series in enumerate(found):
        for run in series.runs:
            points = [frame.at(*point) for point in run]
            if series.is_filled:
                yield svg.area(points, frame.bottom, series.color)
            else:
                yield svg.line(points, series.color, dashes=series.dashes)
        y = frame.top + 10 + 18 * number
        left = frame.left + frame.width + 12
        yield svg.line([(left, y), (left + 22, y)], series.color, dashes=series.dashes, width=3)
        yield svg.text((left + 28, y + 4), series.name)


def _times(frame: Frame) -> Iterator[str]:
    for part in range(TICKS):
        moment = frame.from_x + (frame.to_x - frame.from_x) * part / (TICKS - 1)
        x, _ = frame.at(moment, 0.0)
        clock = time.strftime("%H:%M:%S", time.localtime(moment))
        yield svg.text((x, frame.bottom + 20), clock, anchor="middle")


def _rounded_up(value: float) -> float:
    """A round number that is no less, for the top of a scale: 100, 200, 400, 1000, 2000 and so on."""
    top = 100.0
    for factor in (2.0, 2.0, 2.5) * 6:
        if top >= value:
            break
        top *= factor
    return top
