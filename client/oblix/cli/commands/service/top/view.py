"""Puts the parts together: all of them on a page, or as much of each as a terminal has room for."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from oblix.cli.commands.service.top import machine, tables
from oblix.cli.commands.service.top.state import State
from oblix.cli.commands.service.top.tables import Section
from oblix.cli.output.tables import cell

NARROWEST = 40
ENDED, DECISIONS = 10, 20
"""Executions that have ended and decisions on a page."""
LEAST = 3
"""Lines of a list: a blank one, its heading, and one row or a word on why there is none."""


def full_view(state: State, width: int) -> RenderableType:
    """Draw all models, what runs, and the last of what is over."""
    parts = tables.models(state), tables.executions(state, ENDED), tables.decisions(state)
    most = len(parts[0].rows), len(parts[1].rows), DECISIONS
    return Group(*_head(state, width), *(part.draw(rows) for part, rows in zip(parts, most, strict=True)))


def fitted_view(state: State, width: int, height: int) -> RenderableType:
    """Return what fits: the machine first, then an even share of the rest for each list."""
    width = max(width, NARROWEST)
    head = _head(state, width)
    sections = _sections(state)
    shares = share_rows(height - len(head), [len(part.rows) for part in sections])
    drawn = [part.draw(rows) for part, rows in zip(sections, shares, strict=True) if rows is not None]
    return Group(*head, *drawn)


def share_rows(height: int, lengths: Sequence[int]) -> list[int | None]:
    """Return the rows of each list for so many lines; None: not even its heading and one row fit.

    What is left after one row for each is dealt out row by row.
    """
    fitting = min(len(lengths), max(0, height) // LEAST)
    shares = [1] * fitting
    left = height - fitting * LEAST
    while left > 0 and (growing := [i for i in range(fitting) if shares[i] < lengths[i]]):
        for i in growing[:left]:
            shares[i] += 1
        left -= min(left, len(growing))
    return [*shares, *[None] * (len(lengths) - fitting)]


def _head(state: State, width: int) -> list[Text]:
    title = Text.assemble(
        ("oblix top", "bold"), f"  {time.strftime('%H:%M:%S', time.localtime(state.moment_s))}"
    )
    if state.waiting:
        waiting = Text(f"waiting for oblixd: {cell(state.waiting)}", style="yellow")
        waiting.truncate(width, overflow="ellipsis")
        return [title, waiting]
    lines = [title, *machine.lines(state.snapshot, width)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _sections(state: State) -> list[Section]:
    if state.waiting:
        return []
    return [tables.models(state), tables.executions(state), tables.decisions(state)]
