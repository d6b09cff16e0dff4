"""What is measured. None is unknown: not supported here, failed, or not measured yet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resources:
    """This machine's load."""

    cpu_percent: float | None = None
    """Use of all cores together since the sample before, 0 to 100."""
    memory_percent: float | None = None
    """Memory in use, 0 to 100."""
    memory_available_bytes: int | None = None
    """What can be had without swapping."""
    load_average: float | None = None
    """Over one minute."""
    cpu_count: int | None = None
    own_cpu_percent: float | None = None
    """Our own models' share of `cpu_percent`, percent of all cores."""


@dataclass(frozen=True, slots=True)
class Connectivity:
    """The network to cloud models."""

    reachable: bool | None = None
    latency_ms: float | None = None
    packet_loss_percent: float | None = None
    """Failed connection attempts, 0 to 100."""
    bandwidth_mbps: float | None = None
    """Megabits a second."""


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
