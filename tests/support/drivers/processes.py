"""Finding, awaiting and stopping the processes of a test."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

WAIT_S = 60.0


def children() -> set[psutil.Process]:
    """The processes that this one started. Asked around every test, so it must cost next to nothing."""
    found = set()
    for thread in os.listdir("/proc/self/task"):  # noqa: PTH208 - pathlib's costs several times as much
        with suppress(FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):  # it ended in between
            listing = _read(f"/proc/self/task/{thread}/children")
            found |= {psutil.Process(int(pid)) for pid in listing.split()}
    return found


def of(home: Path) -> set[psutil.Process]:
    """Every process that was started with this `OBLIX_HOME`, but not this one."""
    wanted, found = f"\0OBLIX_HOME={home}\0".encode(), set()
    for pid in psutil.pids():
        with suppress(OSError, psutil.NoSuchProcess):  # it ended in between, or is somebody else's
            if pid != os.getpid() and wanted in b"\0" + _read(f"/proc/{pid}/environ"):
                found.add(psutil.Process(pid))
    return found


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - as above
        return file.readall()


def daemon_of(home: Path) -> psutil.Process:
    """The one daemon of a home."""
    (daemon,) = [one for one in of(home) if "oblixd" in one.cmdline()]
    return daemon


def end_daemon_of(home: Path) -> None:
    """Have the daemon of a home end, as a service manager would, and wait."""
    daemon = daemon_of(home)
    daemon.terminate()
    daemon.wait(WAIT_S)


def kill_all_of(home: Path) -> None:
    """`kill -9` for the daemon of a home, with everything that it had started."""
    for process in of(home):
        process.kill()
        process.wait(WAIT_S)


def stop_all_of(home: Path) -> None:
    """Ask the processes of a home to end, as a service manager would, and wait; what stays is a failure."""
    for process in of(home):
        _terminate(process)
    stubborn = wait_for_end(of(home))
    for process in stubborn:
        process.kill()
    assert not stubborn, f"did not end upon SIGTERM: {stubborn}"


def wait_for_end(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Wait until they have ended. Returns those that did not within the timeouts.

    A zombie has ended, also where it is nobody's child any more and its new parent takes its time.
    """
    until = time.monotonic() + WAIT_S
    alive = [process for process in processes if _is_alive(process)]
    while alive and time.monotonic() < until:
        time.sleep(0.01)  # nothing announces the end of a process that is not our child
        alive = [process for process in alive if _is_alive(process)]
    return alive


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _terminate(process: psutil.Process) -> None:
    try:
        process.terminate()
    except psutil.NoSuchProcess:  # ended in between
        return
