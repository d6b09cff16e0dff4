"""Battery, mains, and whether the processor is slowed down by its heat."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from oblixd.monitor import files

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
        """Takes some files of some drivers a tenth of a second."""
        if not (self._root / "sys/class").exists():
            return _told_by_psutil()
        told = [word for word in self._words() if word is not None]
        return PowerState(self._battery(), self._mains(), any(told) if told else None)

    def _supplies(self, *kinds: str) -> Iterator[Path]:
        for supply in sorted((self._root / "sys/class/power_supply").glob("*")):
            # A mouse has a battery too: its scope is Device.
            if files.line(supply / "type") in kinds and files.line(supply / "scope") != "Device":
                yield supply

    def _battery(self) -> float | None:
        charges = [files.integer(supply / "capacity") for supply in self._supplies("Battery")]
        known = [min(100.0, max(0.0, float(charge))) for charge in charges if charge is not None]
        return sum(known) / len(known) if known else None

    def _mains(self) -> bool | None:
        if not any(self._supplies("Battery")):
            return None
        told = [files.integer(supply / "online") for supply in self._supplies("Mains", "USB")]
        known = [online for online in told if online is not None]
        return any(known) if known else None

    def _words(self) -> Iterator[bool | None]:
        yield self._is_counting()
        cooling = self._root / "sys/class/thermal"
        for device in cooling.glob("cooling_device*"):
            if (files.line(device / "type") or "").lower().startswith(("processor", "cpufreq", "cpu-")):
                state = files.integer(device / "cur_state")
                yield None if state is None else state > 0
        pi = files.line(self._root / "sys/devices/platform/soc/soc:firmware/get_throttled")
        with contextlib.suppress(ValueError):
            yield None if pi is None else bool(int(pi, 16) & _PI_THROTTLED_NOW)

    def _is_counting(self) -> bool | None:
        folder = self._root / "sys/devices/system/cpu"
        counts = [files.integer(path) for path in folder.glob("cpu*/thermal_throttle/*_throttle_count")]
        known = [count for count in counts if count is not None]
        before, self._count = self._count, sum(known) if known else None
        return None if before is None or self._count is None else self._count > before


def _told_by_psutil() -> PowerState:
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return PowerState(battery.percent, battery.power_plugged) if battery else PowerState()
