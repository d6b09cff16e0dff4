"""How busy the cores are.

Memory, and what goes to and from swap.

Room on the disk of the conversations.

Pressure stall information: how long tasks waited for what they need.

Battery, mains, and whether the processor is slowed down by its heat.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from oblixd.monitor import reading

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
    found = parse_core_times(stat.read_text()) if stat.exists() else _psutil_times()
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else found.keys()
    return {core: times for core, times in found.items() if core in allowed} or found


def parse_core_times(stat: str) -> dict[int, tuple[float, float]]:
    """Return the cores' lines of /proc/stat. Waiting for a disk is not being busy."""
    found = {}
    for row in stat.splitlines()[1:]:
        if not row.startswith("cpu"):
            break
        words = row.split()
        times = [int(word) for word in words[_USER_TO_STEAL]]
        total = sum(times)
        found[int(words[0][3:])] = (float(total - times[3] - times[4]), float(total))
    return found


def _psutil_times() -> dict[int, tuple[float, float]]:
    rows = enumerate(psutil.cpu_times(percpu=True))
    return {core: (sum(times) - times.idle, float(sum(times))) for core, times in rows}


class Cpu:
    """Compares two readings: the first sample knows nothing."""

    def __init__(self, read: Callable[[], Times]) -> None:
        self._read = read
        self._before: Times = {}
        self.core_count: int | None = None

    def sample(self) -> CpuUse | None:
        """Return the use since the sample before, or None. A core that went away is left out."""
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

    def below(self, limit: int | None, used_bytes: int | None) -> MemoryUse:
        """Return what is left under a container's limit: no more than the limit, nor than the machine has."""
        if limit is None or used_bytes is None:
            return self
        return MemoryUse(limit, max(0, min(self.available, limit - used_bytes)), self.has_swap)


def memory(root: Path) -> MemoryUse:
    """Read it, from /proc/meminfo where there is one (proc_meminfo(5))."""
    meminfo = root / "proc/meminfo"
    if not meminfo.exists():
        told = psutil.virtual_memory()
        return MemoryUse(told.total, told.available)
    table = reading.table(meminfo)
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
        """Sample; None: not known. Without swap nothing moves, and nothing is read."""
        if not self._vmstat.exists():
            return None
        if not has_swap:
            self._before = None
            return SwapRates(0.0, 0.0)
        table = reading.table(self._vmstat)
        before, self._before = self._before, (time.monotonic(), table["pswpin"], table["pswpout"])
        return self._rates(before, self._before) if before else None

    def _rates(self, before: tuple[float, int, int], now: tuple[float, int, int]) -> SwapRates | None:
        elapsed_s = now[0] - before[0]
        if elapsed_s <= 0.0:
            return None
        came, went = ((now[i] - before[i]) * self._page / elapsed_s for i in (1, 2))
        return SwapRates(max(0.0, came), max(0.0, went))


@dataclass(frozen=True, slots=True)
class DiskUse:
    """In bytes."""

    free: int
    """What we may still take: what is kept for root is not in it."""
    total: int


def disk(folder: Path) -> DiskUse:
    """Read it. May hang where the disk is a network's. Raises OSError."""
    told = os.statvfs(folder)
    return DiskUse(told.f_bavail * told.f_frsize, told.f_blocks * told.f_frsize)


@dataclass(frozen=True, slots=True)
class Pressure:
    """Percent of the last ten seconds in which some task waited, 0 to 100. None: not known."""

    cpu: float | None
    memory: float | None
    io: float | None


def of_machine(root: Path) -> Pressure:
    """Return the whole machine's. The format: Documentation/accounting/psi.rst of the kernel."""
    folder = root / "proc/pressure"
    return Pressure(*(some_avg10(folder / name) for name in ("cpu", "memory", "io")))


def of_cgroup(folder: Path) -> Pressure:
    """Read one cgroup's pressure (version 2): the same files have other names there."""
    return Pressure(*(some_avg10(folder / f"{name}.pressure") for name in ("cpu", "memory", "io")))


def some_avg10(path: Path) -> float | None:
    """Read the number in `some avg10=1.23 ...`; None if the kernel lacks it or has it switched off."""
    # Where it is switched off the file is there, and reading it fails.
    with contextlib.suppress(OSError, ValueError, IndexError):
        value = float(path.read_text().split("avg10=", 1)[1].split(maxsplit=1)[0])
        return value if math.isfinite(value) else None
    return None


_PI_THROTTLED_NOW = 0x2 | 0x4 | 0x8
"""Of `get_throttled`: frequency capped, throttled, soft temperature limit, each at this moment."""


@dataclass(frozen=True, slots=True)
class PowerState:
    """None is not known, or not there."""

    battery_percent: float | None = None
    is_plugged_in: bool | None = None
    is_throttled: bool | None = None


class Power:
    """Reads sysfs; where there is none, asks psutil.

    Throttled is: a core's or package's count of throttling events (Intel) rose
    since the sample before, a cooling device of the processor is at work (ACPI
    and ARM), or the firmware says so (Raspberry Pi). A machine that tells none
    of these is unknown.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._count: int | None = None

    def sample(self) -> PowerState:
        """Take some files of some drivers a tenth of a second."""
        if not (self._root / "sys/class").exists():
            return _power_by_psutil()
        told = [word for word in self._words() if word is not None]
        return PowerState(self._battery(), self._mains(), any(told) if told else None)

    def _supplies(self, *kinds: str) -> Iterator[Path]:
        for supply in sorted((self._root / "sys/class/power_supply").glob("*")):
            # A mouse has a battery too: its scope is Device.
            if reading.line(supply / "type") in kinds and reading.line(supply / "scope") != "Device":
                yield supply

    def _battery(self) -> float | None:
        charges = [reading.integer(supply / "capacity") for supply in self._supplies("Battery")]
        known = [min(100.0, max(0.0, float(charge))) for charge in charges if charge is not None]
        return sum(known) / len(known) if known else None

    def _mains(self) -> bool | None:
        if not any(self._supplies("Battery")):
            return None
        told = [reading.integer(supply / "online") for supply in self._supplies("Mains", "USB")]
        known = [online for online in told if online is not None]
        return any(known) if known else None

    def _words(self) -> Iterator[bool | None]:
        yield self._is_counting()
        cooling = self._root / "sys/class/thermal"
        for device in cooling.glob("cooling_device*"):
            if (reading.line(device / "type") or "").lower().startswith(("processor", "cpufreq", "cpu-")):
                state = reading.integer(device / "cur_state")
                yield None if state is None else state > 0
        pi = reading.line(self._root / "sys/devices/platform/soc/soc:firmware/get_throttled")
        with contextlib.suppress(ValueError):
            yield None if pi is None else bool(int(pi, 16) & _PI_THROTTLED_NOW)

    def _is_counting(self) -> bool | None:
        folder = self._root / "sys/devices/system/cpu"
        counts = [reading.integer(path) for path in folder.glob("cpu*/thermal_throttle/*_throttle_count")]
        known = [count for count in counts if count is not None]
        before, self._count = self._count, sum(known) if known else None
        return None if before is None or self._count is None else self._count > before


def _power_by_psutil() -> PowerState:
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return PowerState(battery.percent, battery.power_plugged) if battery else PowerState()
