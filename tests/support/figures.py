"""What a robustness test tried, added up over all tests and held beside what a whole run has to reach.

A test notes a figure with the fixture `note_figure`; the table is printed at the end of the run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from support import scale

PREFIX = "figure: "
"""Of the properties of a test's report that are figures."""
Join = Callable[[Iterable[float]], float]
NoteFigure = Callable[[str, float], None]
"""What the fixture is: it takes the name of a row and a number."""


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    name: str
    join: Join
    """Of the figures that several tests noted."""
    least: float | None = None
    most: float | None = None

    def line(self, noted: list[float]) -> str:
        """Return the row, with its goal, which is that of a whole run."""
        value = self.join(noted)
        if scale.QUICK:
            return f"| {self.name} | {value:,.4g} | |"
        goal = f"at least {self.least:,.0f}" if self.least is not None else ""
        goal = f"at most {self.most:,.4g}" if self.most is not None else goal
        is_met = (self.least is None or value >= self.least) and (self.most is None or value <= self.most)
        return f"| {self.name} | {value:,.4g} | {goal}{'' if is_met else ', missed'} |"


def _count(name: str, least: float | None = None) -> Figure:
    return Figure(name, sum, least)


FIGURES = (
    _count("kills of the daemon under load", 500),
    _count("kills of a program that writes", 500),
    _count("kills of clients"),
    _count("simulated losses of power", 200),
    _count("faults of the model's server", 2_000),
    _count("full disks", 50),
    _count("other faults of the machine"),
    Figure("inputs of each parser", min, 100_000),
    _count("calls of ordinary use", 500_000),
    _count("faults that one daemon lived through", 1_000),
    _count("acknowledged operations, checked"),
    Figure("of these lost or changed, and other contradictions", sum, most=0),
    Figure("memory after it, of that after the warm-up", max, most=1.05),
    Figure("descriptors after it, of those after the warm-up", max, most=1.05),
    Figure("seconds from a start to SERVING under load, median", max),
    Figure("seconds from a start to SERVING under load, longest", max, most=2.0),
    Figure("99th percentile of 200 clients' calls, of a bare server's", max, most=1.5),
)
NAMES = {one.name for one in FIGURES}


def table(noted: Iterable[tuple[str, float]]) -> Iterator[str]:
    """Yield the lines of the table; nothing where nothing was noted."""
    by_name = defaultdict[str, list[float]](list)
    for name, value in noted:
        by_name[name].append(value)
    if by_name:
        yield from ("| what | figure | goal |", "|---|---|---|")
    yield from (one.line(by_name[one.name]) for one in FIGURES if one.name in by_name)
