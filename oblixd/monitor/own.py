"""How much of the machine our own models use."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from pathlib import Path

from oblixd.monitor.processes import ProcessUse, use

_MINUTE_S = 60.0
_START_STEP_S = 0.02
"""The kernel tells a process's start in ticks, twice rounded."""


class OwnUse:
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
