"""Finding, awaiting and stopping the processes of a test."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psutil

PATIENCE_S = 15.0


def of(home: Path) -> set[psutil.Process]:
    """Every process that was started with this `OBLIX_HOME`, but not this one."""
    return {
        process
        for process in psutil.process_iter()
        if process.pid != psutil.Process().pid and _home_of(process) == str(home)
    }


def stop_all_of(home: Path) -> None:
    """Ask the processes of a home to end, as a service manager would, and wait; what stays is a failure."""
    for process in of(home):
        _terminate(process)
    stubborn = wait_for_end(of(home))
    for process in stubborn:
        process.kill()
    assert not stubborn, f"did not end upon SIGTERM: {stubborn}"


def wait_for_end(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Wait until they have ended. Returns those that did not within the patience."""
    return psutil.wait_procs(processes, timeout=PATIENCE_S)[1]


def _home_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("OBLIX_HOME")
    except psutil.Error:  # ended in between, or somebody else's
        return None


def _terminate(process: psutil.Process) -> None:
    try:
        process.terminate()
    except psutil.NoSuchProcess:  # ended in between
        return
