"""Room on the disk of the conversations."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


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
