"""Takes minutes or root: `make robustness` runs all of this folder, `make robustness-quick` a part."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import pytest
from support import figures, scale

HERE = Path(__file__).parent
QUICK = ("test_damaged_stores.py", "test_machine.py", "test_power_loss.py")
"""Tests that need no quiet machine and no network of their own. They try less in the quick run."""

QUIET = (
    *("test_bad_ports.py", "test_load.py", "test_memory.py"),
    *("test_own_load.py", "test_service.py", "test_upgrade.py"),
)
"""Tests of times, of load and of this machine's services: `make robustness` runs them after all others."""

LONGEST = ("test_use.py", "test_machine.py")
"""The longest first. They are begun first where several run side by side."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is in here, so that the suite leaves it out; leave out what the quick run has no time for."""
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.robustness)
        if item.path.name in QUIET or "two_hundred" in item.name:
            item.add_marker(pytest.mark.quiet)
    items[:] = _in_order(items)
    left_out = [item for item in ours if scale.QUICK and item.path.name not in QUICK]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """Put a short test behind each of the longest: pytest-xdist hands out two at a time."""
    longest = [item for item in items if item.path.parent == HERE and item.path.name in LONGEST]
    longest.sort(key=lambda item: LONGEST.index(item.path.name))
    others = [item for item in items if item not in longest]
    others.sort(key=lambda item: item.get_closest_marker("quiet") is not None)
    pairs = zip_longest(longest, others[: len(longest)])
    return [item for pair in pairs for item in pair if item is not None] + others[len(longest) :]


@pytest.fixture
def note_figure(record_property: Callable[[str, object], None]) -> figures.NoteFigure:
    """Note a figure for the table at the end. Its name is one of `support.figures`."""

    def note(name: str, value: float) -> None:
        assert name in figures.NAMES, name
        record_property(figures.PREFIX + name, value)

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was tried, and what came of it."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    noted = [
        (name.removeprefix(figures.PREFIX), float(value))
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if name.startswith(figures.PREFIX)
    ]
    for line in figures.table(noted):
        terminalreporter.write_line(line)
