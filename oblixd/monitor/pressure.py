"""Pressure stall information: how long tasks waited for what they need."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pressure:
    """Percent of the last ten seconds in which some task waited, 0 to 100. None: not known."""

    cpu: float | None
    memory: float | None
    io: float | None


def of_machine(root: Path) -> Pressure:
    """The whole machine's. The format: Documentation/accounting/psi.rst of the kernel."""
    folder = root / "proc/pressure"
    return Pressure(*(some_avg10(folder / name) for name in ("cpu", "memory", "io")))


def of_cgroup(folder: Path) -> Pressure:
    """One cgroup's (version 2), which has the same files by other names."""
    return Pressure(*(some_avg10(folder / f"{name}.pressure") for name in ("cpu", "memory", "io")))


def some_avg10(path: Path) -> float | None:
    """The number in `some avg10=1.23 ...`; None where the kernel has it not, or has it switched off."""
    # Where it is switched off the file is there, and reading it fails.
    with contextlib.suppress(OSError, ValueError, IndexError):
        value = float(path.read_text().split("avg10=", 1)[1].split(maxsplit=1)[0])
        return value if math.isfinite(value) else None
    return None
