"""How much of the machine our own models use."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable

import psutil

_MINUTE_S = 60.0
_CREATE_TIME_STEP_S = 0.02
"""The kernel tells a process's start in ticks, twice rounded."""


class OwnUse:
    """CPU time of processes that come and go, as use between two measurements."""

    def __init__(self) -> None:
        self._before: dict[int, float] = {}
        self._before_s = time.monotonic()
        self._before_wall_s = time.time()
        self.cores = 0.0
        """Cores in use between the last two measurements."""
        self.load_average = 0.0
        """The same, smoothed over a minute as the system's load average is."""

    def measure(self, pids: Iterable[int]) -> None:
        """Account for the time since the measurement before. A process that has gone counts no more."""
        now_s, wall_s = time.monotonic(), time.time()
        used = {pid: found for pid in pids if (found := self._used(pid)) is not None}
        elapsed_s = max(now_s - self._before_s, 1e-3)
        self.cores = sum(delta_s for _, delta_s in used.values()) / elapsed_s
        kept = math.exp(-elapsed_s / _MINUTE_S)
        self.load_average = self.load_average * kept + self.cores * (1.0 - kept)
        self._before = {pid: total_s for pid, (total_s, _) in used.items()}
        self._before_s, self._before_wall_s = now_s, wall_s

    def _used(self, pid: int) -> tuple[float, float] | None:
        """Seconds of CPU in all, and since the measurement before; None for a process that has gone."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            times = process.cpu_times()
            total_s = times.user + times.system
            return total_s, max(0.0, total_s - self._counted(pid, process, total_s))
        return None

    def _counted(self, pid: int, process: psutil.Process, total_s: float) -> float:
        """What was accounted for already. Of a process met late only what follows is known to be recent."""
        if pid in self._before:
            return self._before[pid]
        is_new = process.create_time() >= self._before_wall_s - _CREATE_TIME_STEP_S
        return 0.0 if is_new else total_s
