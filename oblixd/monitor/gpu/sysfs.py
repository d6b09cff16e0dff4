"""AMD's and Intel's graphics processors, as the kernel's drivers tell of them in sysfs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from oblixd.monitor import reading
from oblixd.monitor.snapshot import Gpu

AMD, INTEL = "0x1002", "0x8086"
_VENDORS = {AMD: "AMD", INTEL: "Intel"}


class Card(Protocol):
    """One graphics processor."""

    def sample(self) -> Gpu:
        """Return what it tells now."""


def cards(root: Path) -> Sequence[Card]:
    """List the cards of both makers: /sys/class/drm/card0 and so on, without connectors (card0-DP-1)."""
    found: list[Card] = []
    for folder in sorted((root / "sys/class/drm").glob("card*")):
        vendor = reading.line(folder / "device/vendor")
        if folder.name.removeprefix("card").isdigit() and vendor in _VENDORS:
            found.append(AmdCard(folder) if vendor == AMD else IntelCard(folder))
    return found


class AmdCard:
    """amdgpu. Source: Documentation/gpu/amdgpu/driver-misc.rst and thermal.rst of the kernel."""

    def __init__(self, folder: Path) -> None:
        self._device = folder / "device"
        self._name = _name(self._device)

    def sample(self) -> Gpu:
        """Return what it tells now."""
        busy = reading.integer(self._device / "gpu_busy_percent")
        return Gpu(
            name=self._name,
            utilization=None if busy is None else min(1.0, max(0.0, busy / 100.0)),
            memory_total_bytes=reading.integer(self._device / "mem_info_vram_total"),
            memory_used_bytes=reading.integer(self._device / "mem_info_vram_used"),
            temperature_celsius=_celsius(self._device),
        )


class IntelCard:
    """i915 and xe, which tell how long each part slept: use is the share of time that the busiest was awake.

    That is at least its true use, and the first sample knows none. What its
    memory holds is not told. Source: Documentation/ABI/testing/
    sysfs-driver-intel-i915 and the comments of xe_gt_idle.c of the kernel.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = _name(folder / "device")
        self._before_s = 0.0
        self._before: dict[Path, int] = {}

    def sample(self) -> Gpu:
        """Return what it tells now."""
        return Gpu(
            self._name,
            utilization=self._utilization(),
            temperature_celsius=_celsius(self._folder / "device"),
        )

    def _utilization(self) -> float | None:
        now_s, slept = time.monotonic(), self._slept_ms()
        elapsed_ms = (now_s - self._before_s) * 1e3
        parts = slept.keys() & self._before.keys()
        awake = [1.0 - (slept[part] - self._before[part]) / elapsed_ms for part in parts]
        self._before_s, self._before = now_s, slept
        return min(1.0, max(0.0, *awake)) if awake else None

    def _slept_ms(self) -> dict[Path, int]:
        """Return the sleep by part. A part that never slept may not support it, and says nothing."""
        i915 = [path for path in self._folder.glob("gt/gt*/rc6_residency_ms") if _may_sleep(path.parent)]
        xe = self._folder.glob("device/tile*/gt*/gtidle/idle_residency_ms")
        told = {path: reading.integer(path) for path in (*i915, *xe)}
        return {path: slept for path, slept in told.items() if slept}


def _may_sleep(part: Path) -> bool:
    return reading.integer(part / "rc6_enable") != 0


def _name(device: Path) -> str:
    """Return the product's name if the card tells it, else the maker with the numbers that lspci shows."""
    vendor, number = (reading.line(device / name) or "" for name in ("vendor", "device"))
    plain = f"{_VENDORS[vendor]} GPU {vendor[2:]}:{number[2:]}"
    return reading.line(device / "product_name") or plain


def _celsius(device: Path) -> float | None:
    """Read the first sensor that answers, in 1/1000 degree: Documentation/hwmon/sysfs-interface.rst."""
    for sensor in sorted(device.glob("hwmon/hwmon*/temp*_input")):
        if (told := reading.integer(sensor)) is not None:
            return told / 1e3
    return None
