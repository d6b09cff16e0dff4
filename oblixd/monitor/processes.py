"""What one process has used so far."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import psutil

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_USER, _SYSTEM, _STARTED, _RESIDENT = 11, 12, 19, 21
"""Fields of /proc/PID/stat after the name in brackets, from 0 (proc_pid_stat(5))."""


class ProcessUse(NamedTuple):
    """Of a living process."""

    cpu_s: float
    started_s: float
    """Seconds after the machine's start; tells a process from a later one of the same number."""
    memory_bytes: int
    """Resident, files that it has mapped included: a model's weights are such a file."""


def use(root: Path, pid: int) -> ProcessUse | None:
    """None for a process that has gone, or that we may not look at."""
    if not (root / "proc/self").exists():
        return _told_by_psutil(pid)
    try:
        stat = (root / f"proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    words = stat[stat.rindex(")") + 1 :].split()
    return ProcessUse(
        (int(words[_USER]) + int(words[_SYSTEM])) / _TICKS,
        int(words[_STARTED]) / _TICKS,
        int(words[_RESIDENT]) * _PAGE,
    )


def _told_by_psutil(pid: int) -> ProcessUse | None:
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        started_s = process.create_time() - psutil.boot_time()
        return ProcessUse(times.user + times.system, started_s, process.memory_info().rss)
    except psutil.Error:
        return None
