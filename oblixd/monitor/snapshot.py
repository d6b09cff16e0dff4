"""What is measured. None is unknown: not supported here, failed, or not measured yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Gpu:
    """A graphics processor."""

    name: str
    utilization: float | None = None
    """0 to 1."""
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    temperature_celsius: float | None = None
    own_utilization: float | None = None
    """Our own models' share of `utilization`, 0 to 1."""

    @property
    def memory_utilization(self) -> float | None:
        """Share of its memory in use, 0 to 1."""
        if self.memory_used_bytes is None or not self.memory_total_bytes:
            return None
        return min(1.0, self.memory_used_bytes / self.memory_total_bytes)


@dataclass(frozen=True, slots=True)
class Resources:
    """This machine's load; a container's, where its limits are the lower ones."""

    cpu_percent: float | None = None
    """Use of all cores together since the sample before, 0 to 100."""
    memory_percent: float | None = None
    """Memory in use, 0 to 100."""
    memory_available_bytes: int | None = None
    """What can be had without swapping."""
    load_average: float | None = None
    """Over one minute. None where a container has less CPU than the machine: it has none of its own."""
    cpu_count: int | None = None
    """Cores that this process may run on."""
    own_cpu_percent: float | None = None
    """Our own models' share of `cpu_percent`, percent of all cores."""
    core_percents: tuple[float, ...] = ()
    """Use of each core, 0 to 100. Empty: not known, or a container's share of the CPU has no cores."""
    memory_total_bytes: int | None = None
    own_memory_bytes: int | None = None
    """What our own models have in memory."""
    swap_in_bytes_per_s: float | None = None
    swap_out_bytes_per_s: float | None = None
    cpu_pressure_percent: float | None = None
    """Share of the last ten seconds in which some task waited for CPU, 0 to 100."""
    memory_pressure_percent: float | None = None
    io_pressure_percent: float | None = None
    disk_free_bytes: int | None = None
    """Of the disk that the conversations are on."""
    disk_total_bytes: int | None = None
    is_throttled: bool | None = None
    """True: the processor is slowed down because it is hot."""
    battery_percent: float | None = None
    """None also where there is no battery."""
    is_plugged_in: bool | None = None
    gpus: tuple[Gpu, ...] = ()
    is_limited_by_container: bool = False
    """A container's limits count here, not the machine's."""


@dataclass(frozen=True, slots=True)
class Connectivity:
    """The way to one cloud model's server, or to all of them."""

    reachable: bool | None = None
    latency_ms: float | None = None
    """Median time to connect."""
    jitter_ms: float | None = None
    """Mean difference between one latency and the next."""
    packet_loss_percent: float | None = None
    """Failed connection attempts, 0 to 100."""
    bandwidth_mbps: float | None = None
    """Megabits a second, of recent bulk transfers."""
    connection_type: str = ""
    """The default route's: wired, wireless, cellular, vpn, loopback or none. Empty: unknown."""
    age_s: float | None = None
    """Seconds since the newest observation, at the time of the snapshot. None: there is none."""
    reason: str = ""
    """Why it can't be reached, for a person."""
    since_s: float | None = None
    """Since when `reachable` is as it is, seconds since the epoch. None while it is unknown."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was measured at one moment."""

    time_s: float | None
    """When, seconds since the epoch. None before the first sample."""
    monotonic_s: float
    """The same on the monotonic clock, to tell its age by."""
    resources: Resources
    connectivity: Connectivity
    own_load_average: float | None = None
    """Our own models' share of the load average: their use in cores, smoothed over the same minute."""
    endpoints: Mapping[str, Connectivity] = field(default_factory=dict)
    """The way to each model server, by its origin."""
