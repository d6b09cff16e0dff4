"""One look at the machine: well under a millisecond, and never an exception."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from oblixd.monitor import host
from oblixd.monitor.cgroup import Container, ContainerUse
from oblixd.monitor.gpu import Gpus
from oblixd.monitor.host import Power, PowerState, disk
from oblixd.monitor.processes import OwnUsage
from oblixd.monitor.reading import CachedReading, SafeReader
from oblixd.monitor.servers import LocalServers
from oblixd.monitor.snapshot import Resources

GPU_S, SELDOM_S = 0.9, 10.0


class Sampler:
    """Reads the operating system's counters. What takes two readings to tell is unknown in the first sample.

    What may take long (disk, power, graphics, who serves models here) is read
    in threads: a sample has their last word. `root` is where /proc and /sys are.
    """

    def __init__(
        self,
        own_pids: Callable[[], Iterable[int]],
        local_origins: Callable[[], Iterable[str]],
        data: Path,
        root: Path = Path("/"),
    ) -> None:
        self._root = root
        self._own_pids = own_pids
        self._safe_reader = SafeReader()
        self._own = OwnUsage(root)
        self._cpu = host.Cpu(partial(host.core_times, root))
        self._swap = host.Swap(root)
        self._container = Container(root)
        self._pids: frozenset[int] = frozenset()
        gpus, power = Gpus(root, lambda: self._pids), Power(root)
        self._gpus = CachedReading(
            "graphics processors", gpus.sample, every_s=GPU_S, reader=self._safe_reader
        )
        self._power = CachedReading("power", power.sample, every_s=SELDOM_S, reader=self._safe_reader)
        self._disk = CachedReading("disk", partial(disk, data), every_s=SELDOM_S, reader=self._safe_reader)
        servers = LocalServers(root, local_origins)
        self._servers = CachedReading(
            "model servers", servers.pids, every_s=SELDOM_S, reader=self._safe_reader
        )

    def sample(self) -> tuple[Resources, float | None]:
        """Measure now: the machine, and our own models' share of the load average.

        What fails is None, and is logged the first time. Keep 0.1 s between two samples.
        """
        own = self._safe_reader.read("own models", self._own_use)
        busy = self._safe_reader.read("cpu", self._cpu.sample)
        machine = self._safe_reader.read("memory", partial(host.memory, self._root))
        within = self._container_use(machine)
        resources = self._cpu_and_load(busy, within)
        resources = self._memory(resources, machine, within)
        resources = self._seldom(self._pressure(resources, within))
        if own is None:
            return resources, None
        cores = within.quota_cores or resources.cpu_count
        share = min(100.0, 100.0 * own.cores / cores) if cores else None
        return replace(resources, own_cpu_percent=share, own_memory_bytes=own.memory_bytes), own.load_average

    def _own_use(self) -> OwnUsage:
        self._pids = frozenset(self._own_pids()) | (self._servers.latest() or frozenset())
        self._own.measure(self._pids)
        return self._own

    def _container_use(self, machine: host.MemoryUse | None) -> ContainerUse:
        if machine is None or self._cpu.core_count is None:
            return ContainerUse()
        read = partial(self._container.sample, self._cpu.core_count, machine.total)
        return self._safe_reader.read("container", read) or ContainerUse()

    def _cpu_and_load(self, busy: host.CpuUse | None, within: ContainerUse) -> Resources:
        cores = self._cpu.core_count or os.cpu_count()
        if within.quota_cores is not None:
            return Resources(cpu_percent=within.cpu_percent, cpu_count=cores, is_limited_by_container=True)
        return Resources(
            cpu_percent=busy.total_percent if busy else None,
            core_percents=busy.core_percents if busy else (),
            cpu_count=cores,
            load_average=self._safe_reader.read("load average", lambda: os.getloadavg()[0]),
        )

    def _memory(
        self, resources: Resources, machine: host.MemoryUse | None, within: ContainerUse
    ) -> Resources:
        if machine is None:
            return resources
        swapped = self._safe_reader.read("swap", partial(self._swap.sample, machine.has_swap))
        here = machine.below(within.memory_limit_bytes, within.memory_used_bytes)
        return replace(
            resources,
            memory_percent=here.percent,
            memory_available_bytes=here.available,
            memory_total_bytes=here.total,
            swap_in_bytes_per_s=swapped.in_bytes_per_s if swapped else None,
            swap_out_bytes_per_s=swapped.out_bytes_per_s if swapped else None,
            is_limited_by_container=resources.is_limited_by_container or here.total < machine.total,
        )

    def _pressure(self, resources: Resources, within: ContainerUse) -> Resources:
        told = host.of_cgroup(within.pressure) if within.pressure else host.of_machine(self._root)
        return replace(
            resources,
            cpu_pressure_percent=told.cpu,
            memory_pressure_percent=told.memory,
            io_pressure_percent=told.io,
        )

    def _seldom(self, resources: Resources) -> Resources:
        room, power = self._disk.latest(), self._power.latest() or PowerState()
        return replace(
            resources,
            disk_free_bytes=room.free if room else None,
            disk_total_bytes=room.total if room else None,
            is_throttled=power.is_throttled,
            battery_percent=power.battery_percent,
            is_plugged_in=power.is_plugged_in,
            gpus=self._gpus.latest() or (),
        )
