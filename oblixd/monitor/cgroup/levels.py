"""One cgroup, of either version, as what it allows and what it uses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from oblixd.monitor import reading


class CpuLevel(Protocol):
    """A cgroup that may hold a limit of CPU."""

    @property
    def folder(self) -> Path:
        """Where it is."""

    def quota_cores(self) -> float | None:
        """Cores' worth of CPU that it may use; None: as much as there is."""

    def used_s(self) -> float | None:
        """Seconds of CPU that all in it used; None where that is not accounted. Raises OSError."""


class MemoryLevel(Protocol):
    """A cgroup that may hold a limit of memory."""

    def limit_bytes(self) -> int | None:
        """Return the limit in bytes; None: as much as there is."""

    def used_bytes(self) -> int:
        """Return what it can't give back: all it uses, less the file cache. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Cpu2:
    """Version 2. Source: Documentation/admin-guide/cgroup-v2.rst of the kernel."""

    folder: Path

    def quota_cores(self) -> float | None:
        quota, _, period = (reading.line(self.folder / "cpu.max") or "max").partition(" ")
        return int(quota) / int(period) if quota.isdigit() else None

    def used_s(self) -> float:
        return reading.table(self.folder / "cpu.stat")["usage_usec"] / 1e6


@dataclass(frozen=True, slots=True)
class Memory2:
    """Version 2. From `memory.high` on it is slowed down, at `memory.max` ended: the lower one counts."""

    folder: Path

    def limit_bytes(self) -> int | None:
        limits = [reading.integer(self.folder / name) for name in ("memory.max", "memory.high")]
        return min((limit for limit in limits if limit is not None), default=None)

    def used_bytes(self) -> int:
        used = reading.integer(self.folder / "memory.current") or 0
        stat = reading.table(self.folder / "memory.stat")
        # As the kernel's own MemAvailable counts: the page cache and such slabs can be had.
        names = ("active_file", "inactive_file", "slab_reclaimable")
        return max(0, used - sum(stat.get(name, 0) for name in names))


@dataclass(frozen=True, slots=True)
class Cpu1:
    """Version 1. Source: Documentation/scheduler/sched-bwc.rst and cgroup-v1/cpuacct.rst of the kernel."""

    folder: Path
    accounts: Path | None
    """The cgroup of the same name where CPU time is accounted: often the same folder."""

    def quota_cores(self) -> float | None:
        quota = reading.integer(self.folder / "cpu.cfs_quota_us")
        period = reading.integer(self.folder / "cpu.cfs_period_us")
        return quota / period if quota and period and quota > 0 else None

    def used_s(self) -> float | None:
        used_ns = reading.integer(self.accounts / "cpuacct.usage") if self.accounts else None
        return None if used_ns is None else used_ns / 1e9


@dataclass(frozen=True, slots=True)
class Memory1:
    """Version 1. Source: Documentation/admin-guide/cgroup-v1/memory.rst of the kernel."""

    folder: Path

    def limit_bytes(self) -> int | None:
        # No limit is a number near 2^63: more than any machine has.
        return reading.integer(self.folder / "memory.limit_in_bytes")

    def used_bytes(self) -> int:
        used = reading.integer(self.folder / "memory.usage_in_bytes") or 0
        stat = reading.table(self.folder / "memory.stat")
        return max(0, used - stat.get("total_active_file", 0) - stat.get("total_inactive_file", 0))
