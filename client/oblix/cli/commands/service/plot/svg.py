"""The few shapes of SVG that a plot needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from oblix.cli.output.tables import cell

Point = tuple[float, float]

_NOT_XML = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What a document may not hold, not even escaped: https://www.w3.org/TR/xml/#charsets."""


class Frame(NamedTuple):
    """A rectangle on the picture, in pixels, and what its edges stand for."""

    left: float
    top: float
    width: float
    height: float
    from_x: float
    to_x: float
    to_y: float
    """The value at the top; at the bottom it is 0."""

    def at(self, x: float, y: float) -> Point:
        """Return where a value goes: no farther than the edges."""
        right = min(1.0, max(0.0, (x - self.from_x) / (self.to_x - self.from_x)))
        up = min(1.0, max(0.0, y / self.to_y))
        return self.left + right * self.width, self.top + (1.0 - up) * self.height

    @property
    def bottom(self) -> float:
        """Where 0 is."""
        return self.top + self.height


def document(width: int, height: int, shapes: Iterable[str]) -> str:
    """Return a whole file, on white, so that it can be read on any page."""
    sizes = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {sizes} font-family="sans-serif" font-size="12">'
    return "\n".join((head, box((0, 0), (width, height), "#ffffff"), *shapes, "</svg>"))


def box(corner: Point, size: Point, color: str, title: str = "") -> str:
    """Return a filled rectangle: its upper left corner, its width and height."""
    (left, top), (width, height) = corner, size
    edges = f'x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {edges} fill="{color}">{_title(title)}</rect>'


def line(points: Sequence[Point], color: str, *, dashes: str = "", width: float = 1.5) -> str:
    """Return a line through all points; a single one is a dot."""
    if len(points) == 1:
        return dot(points[0], color, radius=width)
    told = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    style = f'fill="none" stroke="{color}" stroke-width="{width}" stroke-linejoin="round"'
    return f'<polyline points="{told}" {style} stroke-dasharray="{dashes or "none"}"/>'


def area(points: Sequence[Point], bottom: float, color: str) -> str:
    """Return what is below a line."""
    edge = [(points[0][0], bottom), *points, (points[-1][0], bottom)]
    told = " ".join(f"{x:.1f},{y:.1f}" for x, y in edge)
    return f'<polygon points="{told}" fill="{color}"/>'


def dot(at: Point, color: str, *, radius: float = 4.0, hollow: bool = False, title: str = "") -> str:
    """Return a circle; a browser shows its title where the mouse rests on it."""
    fill = f'fill="{"#ffffff" if hollow else color}" stroke="{color}" stroke-width="1.5"'
    return f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{radius}" {fill}>{_title(title)}</circle>'


def cross(at: Point, color: str, *, radius: float = 4.0, title: str = "") -> str:
    """Two strokes through a point."""
    x, y = at
    strokes = " ".join(
        f"M{x - radius:.1f},{y - slope:.1f} L{x + radius:.1f},{y + slope:.1f}" for slope in (radius, -radius)
    )
    return f'<path d="{strokes}" fill="none" stroke="{color}" stroke-width="2">{_title(title)}</path>'


def text(
    at: Point, words: str, *, anchor: str = "start", color: str = "#333333", weight: str = "normal"
) -> str:
    """Return a line of text, whatever is in it."""
    place = f'x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}" font-weight="{weight}"'
    return f"<text {place} fill={quoteattr(color)}>{_words(words)}</text>"


def _title(title: str) -> str:
    return f"<title>{_words(title)}</title>" if title else ""


def _words(text: str) -> str:
    """Return a text on one line, as a document may hold it."""
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", cell(text)))
