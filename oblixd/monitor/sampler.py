"""One look at the machine: well under a millisecond, and never an exception."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import psutil

from oblixd.monitor.own import OwnUse
from oblixd.monitor.types import Connectivity, Resources, Snapshot

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class Sampler:
    """Reads the operating system's counters. The first sample knows no CPU use: it takes two to tell."""

    def __init__(self, own_pids: Callable[[], Sequence[int]]) -> None:
        self._own_pids = own_pids
        self._own = OwnUse()
        self._cpu: tuple[float, float] | None = None
        self._failed: set[str] = set()

    def sample(self) -> Snapshot:
        """Measure now. What fails is None, and is logged the first time. Keep 0.1 s between two samples."""
        own = self._known("own models", self._own_use)
        return Snapshot(
            time_s=time.time(),
            monotonic_s=time.monotonic(),
            resources=self._resources(own.cores if own else None),
            connectivity=Connectivity(),
            own_load_average=own.load_average if own else None,
        )

    def _resources(self, own_cores: float | None) -> Resources:
        memory = self._known("memory", psutil.virtual_memory)
        cores = os.cpu_count()
        own_percent = None if own_cores is None or cores is None else 100.0 * own_cores / cores
        return Resources(
            cpu_percent=self._known("cpu", self._cpu_percent),
            memory_percent=memory.percent if memory else None,
            memory_available_bytes=memory.available if memory else None,
            load_average=self._known("load average", lambda: psutil.getloadavg()[0]),
            cpu_count=cores,
            own_cpu_percent=None if own_percent is None else min(100.0, own_percent),
        )

    def _own_use(self) -> OwnUse:
        self._own.measure(self._own_pids())
        return self._own

    def _cpu_percent(self) -> float | None:
        before, self._cpu = self._cpu, _cpu_seconds()
        if before is None:
            return None
        busy, total = self._cpu[0] - before[0], self._cpu[1] - before[1]
        # The kernel's counters may run backwards a little.
        return min(100.0, max(0.0, 100.0 * busy / total)) if total > 0 else None

    def _known(self, name: str, read: Callable[[], _T]) -> _T | None:
        try:
            return read()
        except Exception:  # whatever a driver or a container does to one counter, the others go on
            level = logging.DEBUG if name in self._failed else logging.WARNING
            _logger.log(level, "can't measure %s: it counts as unknown", name, exc_info=True)
            self._failed.add(name)
            return None


def _cpu_seconds() -> tuple[float, float]:
    """Busy and all seconds of all cores since boot. A guest's time is in `user` already."""
    times = psutil.cpu_times()
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    total = sum(times) - guests
    return total - times.idle - getattr(times, "iowait", 0.0), total
