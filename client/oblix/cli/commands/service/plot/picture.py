"""Lays the picture out: load, network, and where prompts went, over one line of time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

from oblix.cli.commands.service.plot import lanes, svg
from oblix.cli.commands.service.plot.series import Series, load, network, spans
from oblix.cli.commands.service.plot.svg import Frame
from oblix.v1 import monitor_pb2

WIDTH, LEFT, RIGHT = 980, 70, 210
HEAD, GAP, LANES_GAP, LOAD, NETWORK, FOOT = 62, 44, 58, 190, 120, 40
GRID = "#e3e3e3"
TICKS = 5
MOST_TIMES = 6
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 180, 300)
"""What may be between two times on the axis, seconds: the last gives three in the longest picture."""
CALM, ALARM = "#fdf3d8", "#fbdedb"


def picture(history: monitor_pb2.GetHistoryResponse, seconds: float) -> str:
    """Return an SVG file. The time goes up to the newest sample, or to now where there is none."""
    newest = history.snapshots[-1].sample_time.ToMilliseconds() / 1e3 if history.snapshots else time.time()
    lower = lanes.height(history.prompts)
    height = HEAD + LOAD + GAP + NETWORK + LANES_GAP + lower + FOOT
    tops = HEAD, HEAD + LOAD + GAP, HEAD + LOAD + GAP + NETWORK + LANES_GAP

    def frame(number: int, tall: float, most: float) -> Frame:
        return Frame(LEFT, tops[number], WIDTH - LEFT - RIGHT, tall, newest - seconds, newest, most)

    ways = network(history.snapshots)
    slowest = max((y for way in ways for run in way.runs for _, y in run), default=100.0)
    until = time.strftime("%Y-%m-%d until %H:%M:%S %Z", time.localtime(newest))
    return svg.document(
        WIDTH,
        height,
        (
            svg.text((LEFT, 24), f"Oblix: load, network and where prompts went, {until}", weight="bold"),
            *_load(frame(0, LOAD, 100.0), history.snapshots),
            *_network(frame(1, NETWORK, _round_up(slowest)), ways, history.snapshots),
            *lanes.draw(frame(2, lower, 1.0), history.prompts),
            *_times(frame(2, lower, 1.0)),
        ),
    )


def _load(frame: Frame, snapshots: Sequence[monitor_pb2.Snapshot]) -> Iterator[str]:
    states = spans(snapshots, lambda snapshot: snapshot.resource_state)
    yield from _bands(frame, states, {2: (CALM, "constrained"), 3: (ALARM, "critical")})
    yield from _grid(frame, "this machine, percent (shaded: constrained or critical)")
    yield from _lines(frame, load(snapshots))


def _network(
    frame: Frame, ways: Sequence[Series], snapshots: Sequence[monitor_pb2.Snapshot]
) -> Iterator[str]:
    states = spans(snapshots, lambda snapshot: snapshot.connectivity.state)
    yield from _bands(frame, states, {2: (CALM, "degraded"), 3: (ALARM, "disconnected")})
    for way in ways:
        outages = [(start, end, 3) for start, end in way.outages]
        yield from _bands(frame, outages, {3: (ALARM, f"{way.name} could not be reached")})
    yield from _grid(frame, "time to connect, milliseconds (shaded: degraded, or an endpoint is not reached)")
    if not ways:
        middle = (frame.left + frame.width / 2, frame.top + frame.height / 2 - 6)
        yield svg.text(middle, "no cloud model was reached or tried", anchor="middle", color="#888888")
    yield from _lines(frame, ways)
    for way in ways:
        for start, end in way.outages:
            edge = [frame.at(start, 0.0), frame.at(max(end, start + 1.0), 0.0)]
            yield svg.line(edge, way.color, dashes=way.dashes, width=4)


def _bands(
    frame: Frame, bands: Sequence[tuple[float, float, int]], looks: dict[int, tuple[str, str]]
) -> Iterator[str]:
    for start, end, state in bands:
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


def _lines(frame: Frame, all_series: Sequence[Series]) -> Iterator[str]:
    for number, series in enumerate(all_series):
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
    """Draw times at round moments, evenly apart, with a tick at each."""
    length = frame.to_x - frame.from_x
    step = next((step for step in STEPS_S if length / step <= MOST_TIMES), STEPS_S[-1])
    form = "%H:%M:%S" if step < STEPS_S[-4] else "%H:%M"
    moment = math.ceil(frame.from_x / step) * step
    while moment <= frame.to_x:
        x, _ = frame.at(moment, 0.0)
        yield svg.line([(x, frame.bottom), (x, frame.bottom + 5)], "#888888", width=1)
        yield svg.text((x, frame.bottom + 20), time.strftime(form, time.localtime(moment)), anchor="middle")
        moment += step


def _round_up(value: float) -> float:
    """Return a round number that is no less, for the top of a scale: 1, 2, 4, 10, 20, 40, 100 and so on."""
    top = 1.0
    for factor in (2.0, 2.0, 2.5) * 8:
        if top >= value:
            break
        top *= factor
    return top
