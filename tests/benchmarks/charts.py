"""Line charts as SVG, so that a picture in the docs is text and a change of it can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import log10

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 360, 70, 40, 150, 50
FONT = 'font-family="sans-serif" font-size="12"'
COLOURS = ("#0b6e4f", "#c1440e", "#2b59c3", "#7d5ba6", "#5c5c5c")


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn. The x axis is logarithmic, the y axis begins at 0."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


def picture(*charts: Chart) -> str:
    """Return charts beside each other as one SVG."""
    size = f'viewBox="0 0 {WIDTH * len(charts)} {HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {FONT}>'
    placed = [
        f'<g transform="translate({WIDTH * place} 0)">\n{_draw(one)}\n</g>'
        for place, one in enumerate(charts)
    ]
    return "\n".join([head, *placed, "</svg>\n"])


def _draw(chart: Chart) -> str:
    points = [point for line in chart.lines.values() for point in line]
    xs, top = sorted({x for x, _ in points}), max(y for _, y in points) * 1.1
    body = [_text(LEFT, TOP - 15, chart.title, size=15)]
    body += [_text(_x(x, xs), HEIGHT - BOTTOM + 18, f"{x:,.0f}", anchor="middle") for x in xs]
    body.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, chart.x, anchor="middle"))
    for step in range(5):
        value = top * step / 4
        body.append(_rule(_y(value, top)))
        body.append(_text(LEFT - 6, _y(value, top) + 4, f"{value:,.3g}", anchor="end"))
    body.append(_text(LEFT - 60, TOP - 15, chart.y))
    for place, (name, line) in enumerate(chart.lines.items()):
        body += _line(name, [(_x(x, xs), _y(y, top)) for x, y in line], COLOURS[place % len(COLOURS)], place)
    return "\n".join([f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', *body])


def _x(value: float, values: Sequence[float]) -> float:
    low, high = log10(values[0]), log10(values[-1])
    share = (log10(value) - low) / (high - low) if high > low else 0.5
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)


def _line(name: str, points: Sequence[tuple[float, float]], colour: str, place: int) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    legend = TOP + 18 * place
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *dots,
        f'<rect x="{WIDTH - RIGHT + 15}" y="{legend}" width="12" height="12" fill="{colour}"/>',
        _text(WIDTH - RIGHT + 33, legend + 10, name),
    ]


def _rule(y: float) -> str:
    return f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
