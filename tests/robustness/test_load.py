"""The machine loaded for real: the values change, and change back."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from oblixd.monitor import Monitor, Snapshot

WAIT_S = 50.0
"""For an end of what else keeps this machine busy, too."""
MIB = 1 << 20
BUSY = "while True: pass"
HOLD = """
import sys
held = b"x" * int(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""
CGROUPS = Path("/sys/fs/cgroup")


@contextmanager
def busy(count: int) -> Iterator[list[int]]:
    """So many processes that do nothing but run."""
    running = [subprocess.Popen([sys.executable, "-S", "-c", BUSY]) for _ in range(count)]
    try:
        yield [process.pid for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()


@contextmanager
def holding(size: int) -> Iterator[None]:
    """A process that has so many bytes, for a block."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", HOLD, str(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.communicate()


@pytest.fixture
async def monitor() -> AsyncIterator[Monitor]:
    running = Monitor(interval_s=0.3)
    await running.start()
    yield running
    await running.close()


async def until(monitor: Monitor, condition: Callable[[Snapshot], bool]) -> Snapshot:
    snapshot = monitor.latest()
    try:
        async with asyncio.timeout(WAIT_S):
            async for snapshot in monitor.watch():
                if condition(snapshot):
                    return snapshot
    except TimeoutError:
        pytest.fail(f"it never came to that; is something else busy on this machine? {snapshot.resources}")
    raise AssertionError("the monitor closed")


def others(snapshot: Snapshot) -> float:
    """CPU use of the rest of the machine, percent; 50 where it is not known."""
    used, own = snapshot.resources.cpu_percent, snapshot.resources.own_cpu_percent
    return 50.0 if used is None or own is None else used - own


async def test_busy_processes_are_seen_and_gone(monitor: Monitor) -> None:
    await until(monitor, lambda snapshot: others(snapshot) < 60.0)
    with busy(2 * (os.cpu_count() or 1)):
        loaded = await until(monitor, lambda snapshot: others(snapshot) > 90.0)
        assert all(percent > 50.0 for percent in loaded.resources.core_percents)
        if loaded.resources.cpu_pressure_percent is not None:
            await until(monitor, lambda snapshot: (snapshot.resources.cpu_pressure_percent or 0.0) > 5.0)
    await until(monitor, lambda snapshot: others(snapshot) < 60.0)


async def test_our_own_models_at_full_speed_are_no_load_of_others() -> None:
    with busy(os.cpu_count() or 1) as pids:
        monitor = Monitor(interval_s=0.3, own_pids=lambda: pids)
        await monitor.start()
        try:
            await until(monitor, lambda s: (s.resources.own_cpu_percent or 0.0) > 60.0 and others(s) < 40.0)
        finally:
            await monitor.close()


async def test_memory_that_is_taken_is_missing_and_comes_back(monitor: Monitor) -> None:
    size = min(1024 * MIB, psutil.virtual_memory().available // 4)
    before = monitor.latest().resources.memory_available_bytes or 0
    with holding(size):
        await until(monitor, lambda s: (s.resources.memory_available_bytes or 0) < before - size // 2)
    await until(monitor, lambda s: (s.resources.memory_available_bytes or 0) > before - size // 2)


@pytest.fixture
def cage() -> Iterator[list[Path]]:
    """A cgroup with half a core and 256 MiB: its folders, of which version 1 has several."""
    try:
        made = _version_1() if (CGROUPS / "memory").is_dir() else _version_2()
    except OSError as error:
        pytest.skip(f"making a cgroup takes root and a cgroup file system that can be written to: {error}")
    yield made
    for folder in made:
        folder.rmdir()


def _version_1() -> list[Path]:
    folders = {name: CGROUPS / name / f"oblix-test-{os.getpid()}" for name in ("memory", "cpu", "cpuacct")}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    (folders["memory"] / "memory.limit_in_bytes").write_text(str(256 * MIB))
    (folders["cpu"] / "cpu.cfs_quota_us").write_text("50000")
    return list({folder.resolve(): None for folder in folders.values()})


def _version_2() -> list[Path]:
    (CGROUPS / "cgroup.subtree_control").write_text("+cpu +memory")
    folder = CGROUPS / f"oblix-test-{os.getpid()}"
    folder.mkdir()
    (folder / "memory.max").write_text(str(256 * MIB))
    (folder / "cpu.max").write_text("50000 100000")
    return [folder]


INSIDE = """
import asyncio, json, sys
from oblixd.monitor import Monitor

async def main():
    monitor = Monitor(interval_s=0.3)
    await monitor.start()
    async for snapshot in monitor.watch():
        told = snapshot.resources
        row = [told.is_limited_by_container, told.memory_total_bytes, told.memory_percent, told.cpu_percent]
        print(json.dumps([*row, told.load_average]), flush=True)

asyncio.run(main())
"""


class Caged:
    """A monitor in a process of its own within the cgroup, where everything that it starts is, too."""

    def __init__(self, cage: list[Path]) -> None:
        self.cage = cage
        self._running: list[subprocess.Popen[str]] = []
        self.monitor = self.start("-c", INSIDE)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Python in the cgroup: it waits to be let go until it is in there."""
        gate = ["sh", "-c", 'read -r _ && exec "$0" "$@"', sys.executable, *words]
        process = subprocess.Popen(gate, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._running.append(process)
        for folder in self.cage:
            (folder / "cgroup.procs").write_text(str(process.pid))
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        return process

    def until(self, condition: Callable[[list[float]], bool]) -> list[float]:
        """The first row for which the condition holds."""
        assert self.monitor.stdout is not None
        for line in self.monitor.stdout:
            row = json.loads(line)
            if None not in row[:4] and condition(row):
                return row
        raise AssertionError("the monitor ended")

    def stop(self, process: subprocess.Popen[str]) -> None:
        process.kill()
        process.communicate()
        self._running.remove(process)

    def end(self) -> None:
        for process in list(self._running):
            self.stop(process)


def test_under_a_limit_the_limit_counts(cage: list[Path]) -> None:
    caged = Caged(cage)
    try:
        quiet = caged.until(lambda row: row[3] < 60.0)
        assert quiet[:2] == [True, 256 * MIB]
        assert quiet[4] is None
        worker = caged.start("-S", "-c", BUSY)
        caged.until(lambda row: row[3] > 85.0)
        caged.stop(worker)
        caged.until(lambda row: row[3] < 60.0)
        holder = caged.start("-S", "-c", HOLD, str(150 * MIB))
        caged.until(lambda row: row[2] > quiet[2] + 40.0)
        caged.stop(holder)
        caged.until(lambda row: row[2] < quiet[2] + 20.0)
    finally:
        caged.end()
