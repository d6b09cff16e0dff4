"""A container's limits count where they are below the machine's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.data.recorded_machines import lay_out, write

from oblixd.monitor import cgroup, host
from oblixd.monitor.cgroup import Container, ContainerUse
from oblixd.monitor.cgroup import container as container_module

GIB, MIB = 1 << 30, 1 << 20
CORES, MEMORY = 8, 32 * GIB


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the container's use is told by; a test moves it."""
    now = [100.0]
    monkeypatch.setattr(cgroup.container.time, "monotonic", lambda: now[0])
    return now


def test_version_2_tells_quota_memory_and_pressure(tmp_path: Path) -> None:
    use = Container(lay_out(tmp_path, "container2")).sample(CORES, MEMORY)
    assert (use.quota_cores, use.cpu_percent) == (1.5, None)
    # Of 1,536 MiB in use the file cache (384) and the slabs (128) can be had.
    assert (use.memory_limit_bytes, use.memory_used_bytes) == (2 * GIB, 1024 * MIB)
    assert use.pressure is not None
    assert host.of_cgroup(use.pressure) == host.Pressure(41.5, 7.25, 0.0)


def test_use_of_the_cpu_is_of_the_quota(tmp_path: Path, clock: list[float]) -> None:
    container = Container(lay_out(tmp_path, "container2"))
    container.sample(CORES, MEMORY)
    clock[0] += 2.0
    write(tmp_path, "sys/fs/cgroup/cpu.stat", "usage_usec 4500000")
    assert container.sample(CORES, MEMORY).cpu_percent == pytest.approx(50.0)
    clock[0] += 1.0
    write(tmp_path, "sys/fs/cgroup/cpu.stat", "usage_usec 99000000")
    assert container.sample(CORES, MEMORY).cpu_percent == 100.0


def test_version_1_tells_the_same(tmp_path: Path, clock: list[float]) -> None:
    container = Container(lay_out(tmp_path, "container1"))
    use = container.sample(CORES, MEMORY)
    assert (use.quota_cores, use.memory_limit_bytes, use.memory_used_bytes) == (1.0, GIB, 400 * MIB)
    assert use.pressure is None
    clock[0] += 4.0
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", 6_000_000_000)
    assert container.sample(CORES, MEMORY).cpu_percent == pytest.approx(25.0)


def test_cpu_time_is_that_of_the_cgroup_with_the_quota_or_unknown(tmp_path: Path, clock: list[float]) -> None:
    root = lay_out(tmp_path, "container1")
    told = (root / "proc/self/cgroup").read_text().strip()
    mounts = (root / "proc/self/mountinfo").read_text().replace("cgroup rw,cpu,cpuacct", "cgroup rw,cpu")
    elsewhere = "736 730 0:34 / /sys/fs/cgroup/cpuacct ro - cgroup cgroup rw,cpuacct"
    write(root, "proc/self/mountinfo", f"{mounts}{elsewhere}")
    write(
        root, "proc/self/cgroup", told.replace("cpu,cpuacct:/docker/4f2a", "cpu:/docker/4f2a/in\n9:cpuacct:/")
    )
    write(root, "sys/fs/cgroup/cpu,cpuacct/in/cpu.cfs_quota_us", 50000)
    write(root, "sys/fs/cgroup/cpu,cpuacct/in/cpu.cfs_period_us", 100000)
    write(root, "sys/fs/cgroup/cpuacct/cpuacct.usage", 1)
    container = Container(root)
    for _ in range(2):
        use = container.sample(CORES, MEMORY)
        clock[0] += 1.0
        assert (use.quota_cores, use.cpu_percent) == (0.5, None)


def test_the_lowest_limit_of_all_levels_counts(tmp_path: Path) -> None:
    use = Container(lay_out(tmp_path, "service2")).sample(CORES, MEMORY)
    assert (use.quota_cores, use.memory_limit_bytes, use.memory_used_bytes) == (0.5, 4 * GIB, GIB)


def test_a_limit_above_what_the_machine_has_is_none(tmp_path: Path) -> None:
    assert Container(lay_out(tmp_path, "container2")).sample(1, GIB) == ContainerUse()


def test_a_limit_that_changes_is_noticed(tmp_path: Path, clock: list[float]) -> None:
    container = Container(lay_out(tmp_path, "container2"))
    container.sample(CORES, MEMORY)
    write(tmp_path, "sys/fs/cgroup/memory.max", 3 * GIB)
    write(tmp_path, "sys/fs/cgroup/cpu.max", "max 100000")
    assert container.sample(CORES, MEMORY).memory_limit_bytes == 2 * GIB
    clock[0] += cgroup.container.LOOK_AGAIN_S
    use = container.sample(CORES, MEMORY)
    assert (use.memory_limit_bytes, use.quota_cores) == (3 * GIB, None)


def test_without_cgroups_there_is_no_limit(tmp_path: Path) -> None:
    assert Container(tmp_path).sample(CORES, MEMORY) == ContainerUse()


def test_a_place_that_a_namespace_hides_is_its_root(tmp_path: Path) -> None:
    root = lay_out(tmp_path, "container2")
    write(root, "proc/self/cgroup", "0::/../../elsewhere")
    assert list(container_module.folders(root, container_module.V2).values()) == [root / "sys/fs/cgroup"]


def test_available_memory_is_never_more_than_the_machine_has() -> None:
    machine = host.MemoryUse(32 * GIB, 1 * GIB)
    assert machine.below(8 * GIB, 2 * GIB) == host.MemoryUse(8 * GIB, 1 * GIB)
    assert machine.below(2 * GIB, 3 * GIB).available == 0
    assert machine.below(None, None) is machine


def test_this_machine_is_read_without_an_error() -> None:
    container = Container(Path("/"))
    for _ in range(2):
        use = container.sample(os.cpu_count() or 1, host.memory(Path("/")).total)
        assert use.quota_cores is None or use.quota_cores > 0.0
