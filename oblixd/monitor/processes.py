"""What one process has used so far.

How much of the machine our own models use.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import psutil

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_USER, _SYSTEM, _STARTED, _RESIDENT = 11, 12, 19, 21
"""Fields of /proc/PID/stat after the name in brackets, from 0 (proc_pid_stat(5))."""


class ProcessUse(NamedTuple):
    """Of a living process."""

    cpu_s: float
    started_s: float
    """Seconds after the machine's start; tells a process from a later one of the same number."""
    memory_bytes: int
    """Resident, files that it has mapped included: a model's weights are such a file."""


def use(root: Path, pid: int) -> ProcessUse | None:
    """Return a process's use. None: it has gone, or we may not look at it."""
    if not (root / "proc/self").exists():
        return _psutil_use(pid)
    try:
        stat = (root / f"proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    words = stat[stat.rindex(")") + 1 :].split()
    return ProcessUse(
        (int(words[_USER]) + int(words[_SYSTEM])) / _TICKS,
        int(words[_STARTED]) / _TICKS,
        int(words[_RESIDENT]) * _PAGE,
    )


def _psutil_use(pid: int) -> ProcessUse | None:
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        started_s = process.create_time() - psutil.boot_time()
        return ProcessUse(times.user + times.system, started_s, process.memory_info().rss)
    except psutil.Error:
        return None


_MINUTE_S = 60.0
_START_STEP_S = 0.02
"""The kernel tells a process's start in ticks, twice rounded."""


class OwnUsage:
    """CPU time and memory of processes that come and go, CPU as use between two measurements."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._before: dict[int, ProcessUse] = {}
        self._before_s = _up_s()
        self.cores = 0.0
        """Cores in use between the last two measurements."""
        self.load_average = 0.0
        """The same, smoothed over a minute as the system's load average is."""
        self.memory_bytes = 0
        """What they have in memory, files that they share counted for each."""

    def measure(self, pids: Iterable[int]) -> None:
        """Account for the time since the measurement before. A process that has gone counts no more."""
        now_s = _up_s()
        found = {pid: used for pid in set(pids) if (used := use(self._root, pid)) is not None}
        elapsed_s = max(now_s - self._before_s, 1e-3)
        self.cores = sum(self._used_s(pid, used) for pid, used in found.items()) / elapsed_s
        kept = math.exp(-elapsed_s / _MINUTE_S)
        self.load_average = self.load_average * kept + self.cores * (1.0 - kept)
        self.memory_bytes = sum(used.memory_bytes for used in found.values())
        self._before, self._before_s = found, now_s

    def _used_s(self, pid: int, now: ProcessUse) -> float:
        """Seconds of CPU since the measurement before. Of a process met late only what follows is known."""
        before = self._before.get(pid)
        if before is not None and before.started_s == now.started_s:
            return max(0.0, now.cpu_s - before.cpu_s)
        return now.cpu_s if now.started_s >= self._before_s - _START_STEP_S else 0.0


def _up_s() -> float:
    """Seconds since the machine's start, the clock that processes' starts are told by."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
