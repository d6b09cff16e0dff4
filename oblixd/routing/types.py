"""What routing takes and gives. Plain values: whoever calls it fills them."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Location(enum.Enum):
    """Where a model runs, as seen from this machine."""

    LOCAL = "local"
    CLOUD = "cloud"


class ResourceState(enum.IntEnum):
    """How much room this machine has for a local model. The numbers are the contract's; more is worse."""

    UNKNOWN = 0
    """Nothing was measured. Treated as available."""
    AVAILABLE = 1
    CONSTRAINED = 2
    CRITICAL = 3


class ConnectivityState(enum.IntEnum):
    """How well this machine reaches cloud models. The numbers are the contract's; more is worse."""

    UNKNOWN = 0
    """Nothing was measured. Treated as optimal."""
    OPTIMAL = 1
    DEGRADED = 2
    DISCONNECTED = 3


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that could take the prompt."""

    key: str
    """The caller's name for it, a hook handle or a model id. Never read here."""
    model: str
    """provider:name."""
    location: Location
    available: bool = True
    """False lowers the rank and never excludes: the attempt then says what is wrong."""
    unavailable_reason: str = ""
    """For a person, where `available` is False."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What the request asks for."""

    local_only: bool = False
    """No cloud model may see it, whatever else is asked for."""
    pin: str = ""
    """Only this model, as provider:name. Empty: any."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What was measured. None is unknown, and so is a number that is not finite: unknown never degrades."""

    cpu_percent: float | None = None
    """CPU use of all cores together, 0 to 100."""
    memory_percent: float | None = None
    """Memory in use, 0 to 100."""
    load_average: float | None = None
    """Over one minute."""
    gpu_percent: float | None = None
    """GPU use, 0 to 100."""
    own_cpu_percent: float | None = None
    """The share of `cpu_percent` that our own models use: not held against them."""
    own_load_average: float | None = None
    """The share of `load_average` that our own models cause: not held against them."""
    age_s: float | None = None
    """Seconds since the values above were measured."""
    reachable: bool | None = None
    """Whether cloud models can be reached."""
    latency_ms: float | None = None
    packet_loss_percent: float | None = None
    """Lost connection attempts, 0 to 100."""
    bandwidth_mbps: float | None = None
    """Megabits a second."""
    network_age_s: float | None = None
    """Seconds since the network's values were measured."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One number that a decision was made on."""

    name: str
    """A field of Machine. CPU and load are those of the rest of the machine, without our models."""
    value: float
    threshold: float
    """What the value was held against: the critical threshold where it was reached."""
    age_s: float | None
    """Seconds, None where the caller did not say."""
    beyond: bool
    """Whether the value is on the bad side of its threshold."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one candidate."""

    key: str
    model: str
    location: Location
    rank: int
    """From 1; 0 is excluded."""
    rule: str
    """What placed or excluded it: UPPER_SNAKE, stable."""
    reason: str
    """The same for a person, with the numbers."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Where the prompt goes, and why."""

    ranked: tuple[Verdict, ...]
    """Every candidate: best first, the excluded ones (rank 0) last, in the order they were given."""
    rule: str
    """What decided: UPPER_SNAKE, stable. NO_MODEL_ALLOWED where every candidate is excluded."""
    reason: str
    """The same for a person, with the numbers and their age."""
    resource_state: ResourceState
    resource_target: str
    """What the machine's state asks for: local_cpu, local_gpu or cloud."""
    connectivity_state: ConnectivityState
    connectivity_target: str
    """What the network's state asks for: local, cloud or hybrid."""
    readings: tuple[Reading, ...]
