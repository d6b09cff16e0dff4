"""Memory, and what goes to and from swap."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from oblixd.monitor import files

KIB = 1024


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """In bytes."""

    total: int
    available: int
    """What can be had without swapping."""
    has_swap: bool = False

    @property
    def percent(self) -> float:
        """What can't be had, of all, 0 to 100."""
        return min(100.0, max(0.0, 100.0 * (self.total - self.available) / self.total)) if self.total else 0.0

    def below(self, limit: int | None, used: int | None) -> MemoryUse:
        """What is left of it under a container's limit: no more than that, nor than the machine has."""
        if limit is None or used is None:
            return self
        return MemoryUse(limit, max(0, min(self.available, limit - used)), self.has_swap)


def memory(root: Path) -> MemoryUse:
    """Read it, from /proc/meminfo where there is one (proc_meminfo(5))."""
    meminfo = root / "proc/meminfo"
    if not meminfo.exists():
        told = psutil.virtual_memory()
        return MemoryUse(told.total, told.available)
    table = files.table(meminfo)
    return MemoryUse(
        table["MemTotal"] * KIB, table["MemAvailable"] * KIB, has_swap=table.get("SwapTotal", 0) > 0
    )


@dataclass(frozen=True, slots=True)
class SwapRates:
    """Bytes a second since the sample before."""

    in_bytes_per_s: float
    out_bytes_per_s: float


class Swap:
    """Compares two readings of /proc/vmstat: the first sample knows nothing."""

    def __init__(self, root: Path) -> None:
        self._vmstat = root / "proc/vmstat"
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._before: tuple[float, int, int] | None = None

    def sample(self, has_swap: bool) -> SwapRates | None:
        """None where it is not known. Where there is no swap nothing moves, and nothing is read."""
        if not self._vmstat.exists():
            return None
        if not has_swap:
            self._before = None
            return SwapRates(0.0, 0.0)
        table = files.table(self._vmstat)
        before, self._before = self._before, (time.monotonic(), table["pswpin"], table["pswpout"])
        return self._rates(before, self._before) if before else None

    def _rates(self, before: tuple[float, int, int], now: tuple[float, int, int]) -> SwapRates | None:
        elapsed_s = now[0] - before[0]
        if elapsed_s <= 0.0:
            return None
        came, went = ((now[i] - before[i]) * self._page / elapsed_s for i in (1, 2))
        return SwapRates(max(0.0, came), max(0.0, went))
