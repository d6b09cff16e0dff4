"""How busy the cores are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

Times = Mapping[int, tuple[float, float]]
"""By core: its busy and its whole time since the machine's start, in any unit."""
_USER_TO_STEAL = slice(1, 9)
"""Guests' time, which follows, is in the user's already."""


@dataclass(frozen=True, slots=True)
class CpuUse:
    """Percent, 0 to 100, since the sample before."""

    total_percent: float
    core_percents: tuple[float, ...]


def core_times(root: Path) -> Times:
    """Read them, from /proc/stat where there is one (proc_stat(5)). Only the cores that we may run on."""
    stat = root / "proc/stat"
    found = parsed(stat.read_text()) if stat.exists() else _told_by_psutil()
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else found.keys()
    return {core: times for core, times in found.items() if core in allowed} or found


def parsed(stat: str) -> dict[int, tuple[float, float]]:
    """The cores' lines of /proc/stat. Waiting for a disk is not being busy."""
    found = {}
    for row in stat.splitlines()[1:]:
        if not row.startswith("cpu"):
            break
        words = row.split()
        times = [int(word) for word in words[_USER_TO_STEAL]]
        total = sum(times)
        found[int(words[0][3:])] = (float(total - times[3] - times[4]), float(total))
    return found


def _told_by_psutil() -> dict[int, tuple[float, float]]:
    rows = enumerate(psutil.cpu_times(percpu=True))
    return {core: (sum(times) - times.idle, float(sum(times))) for core, times in rows}


class Cpu:
    """Compares two readings: the first sample knows nothing."""

    def __init__(self, read: Callable[[], Times]) -> None:
        self._read = read
        self._before: Times = {}
        self.core_count: int | None = None

    def sample(self) -> CpuUse | None:
        """The use since the sample before; None where there was none. A core that went away is left out."""
        before, self._before = self._before, self._read()
        self.core_count = len(self._before) or None
        spans = [
            (max(0.0, busy - before[core][0]), total - before[core][1])
            for core, (busy, total) in self._before.items()
            if core in before
        ]
        whole = sum(total for _, total in spans)
        if whole <= 0.0:
            return None
        return CpuUse(
            _percent(sum(busy for busy, _ in spans), whole), tuple(_percent(*span) for span in spans)
        )


def _percent(busy: float, total: float) -> float:
    # The kernel's counters may run backwards a little, and a core that slept may not have counted at all.
    return min(100.0, max(0.0, 100.0 * busy / total)) if total > 0.0 else 0.0
