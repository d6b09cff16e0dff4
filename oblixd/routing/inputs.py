"""What routing takes and gives. Plain values: whoever calls it fills them.

None is unknown, and so is a number that is not finite: unknown never degrades.

What the rules look at: the question as a whole, and what it makes of a candidate's numbers.
"""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass, field
from functools import lru_cache

from oblixd.routing.policy import Policy


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
class Reading:
    """One number that a decision was made on."""

    name: str
    """What was measured, with its unit: cpu_percent, latency_ms. CPU, GPU and load are those of the rest of
    the machine, without our models."""
    value: float
    threshold: float | None = None
    """What the value was held against: the critical threshold where it was reached. None: against nothing."""
    age_s: float | None = None
    """Seconds, None where the caller did not say."""
    beyond: bool = False
    """Whether the value counts as on the bad side of its threshold."""


@dataclass(frozen=True, slots=True)
class MachineState:
    """How this machine is, and the numbers behind it."""

    state: ResourceState = ResourceState.UNKNOWN
    for_s: float | None = None
    """Seconds for which it has been so; None where it was never known."""
    readings: tuple[Reading, ...] = ()
    memory_available_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class NetworkState:
    """How the way to a model's server is, and the numbers behind it."""

    state: ConnectivityState = ConnectivityState.UNKNOWN
    for_s: float | None = None
    """Seconds for which it has been so; None where it was never known."""
    readings: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True)
class Situation:
    """This machine and its network, under the thresholds of the policy."""

    machine: MachineState = MachineState()
    network: NetworkState = NetworkState()
    """The network as a whole. A candidate has its own."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that could take the prompt, and all that is known of it now."""

    key: str
    """The caller's name for it, a hook handle or a model id. Never read here."""
    model: str
    """provider:name."""
    location: Location
    available: bool = True
    """False lowers the rank and never excludes: the attempt then says what is wrong."""
    unavailable_reason: str = ""
    """For a person, where `available` is False."""
    network: NetworkState = NetworkState()
    """The way to its own server. Not looked at for a local model."""
    waiting_count: int = 0
    """Prompts that wait for a place at it."""
    waiting_limit: int | None = None
    """So many may wait at most. None: any number."""
    ahead: int = 0
    """Prompts that have to end before this one could begin."""
    memory_bytes: float | None = None
    """Memory that has to be free to load it. None: it is loaded, or its size is not known."""
    context_window: float | None = None
    """In tokens."""
    fits: bool | None = None
    """Whether the whole conversation and an answer have room in it. None: not asked, or not known."""
    has_tools: bool | None = None
    """Whether it can call tools."""
    has_images: bool | None = None
    """Whether it reads images."""
    is_free: bool = False
    """Whether no prompt costs anything."""
    cost: float | None = None
    """What this prompt would cost, in the configuration's currency. None: its price is not known."""
    seconds: float | None = None
    """How long its answer would take, as its answers of late show. None: it has not answered lately."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What the request asks for."""

    local_only: bool = False
    """No cloud model may see it, whatever else is asked for."""
    pin: str = ""
    """Only this model, as provider:name. Empty: any."""
    tools: bool = False
    images: bool = False
    deadline_s: float | None = None
    """Seconds that are left for the answer. None: any number."""
    max_cost: float | None = None
    """The most that it may cost. None: anything."""
    spent_budget: str = ""
    """Which cap on spending is reached, for a person: what costs something is out then. Empty: none."""
    target: str = ""
    """What an agent of the client favours: local, cloud or a model as provider:name. Empty: nothing."""
    agent: str = ""
    """The name of that agent."""


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
    readings: tuple[Reading, ...] = ()
    """The numbers of this candidate that were looked at."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Where the prompt goes, and why."""

    verdicts: tuple[Verdict, ...]
    """Every candidate: best first, the excluded ones (rank 0) last, in the order they were given."""
    rule: str
    """What decided: UPPER_SNAKE, stable. NO_MODEL_ALLOWED where every candidate is excluded."""
    reason: str
    """The same for a person, with the numbers and their age."""
    machine: MachineState
    network: NetworkState
    """That of the best reachable cloud candidate; without one, of the network as a whole."""
    local_only: bool
    """Whether only local models were let in, by the request or by its policy."""
    policy: str = "balanced"
    """The name of the policy that it was decided by."""
    policy_source: str = "default"
    """Where the policy came from: request, session, rule or default."""

    @property
    def resource_target(self) -> str:
        """What the machine's state asks for: local_cpu, local_gpu or cloud."""
        if self.machine.state >= ResourceState.CONSTRAINED:
            return "cloud"
        has_gpu = any(reading.name == "gpu_percent" for reading in self.machine.readings)
        return "local_gpu" if has_gpu else "local_cpu"

    @property
    def connectivity_target(self) -> str:
        """What the network's state asks for: local, cloud or hybrid."""
        if self.network.state is ConnectivityState.DISCONNECTED:
            return "local"
        return "hybrid" if self.network.state is ConnectivityState.DEGRADED else "cloud"

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The numbers of the machine, then those of the network."""
        return self.machine.readings + self.network.readings


@dataclass(frozen=True, slots=True)
class MachineSample:
    """This machine's load at one moment."""

    time_s: float
    """When, on a monotonic clock."""
    cpu_percent: float | None = None
    """CPU use of all cores together since the sample before, 0 to 100."""
    memory_percent: float | None = None
    """Memory in use, 0 to 100."""
    load_average: float | None = None
    """Over one minute."""
    gpu_percent: float | None = None
    """Use of the busiest GPU, 0 to 100."""
    own_cpu_percent: float | None = None
    """The share of `cpu_percent` that our own models use: not held against them."""
    own_load_average: float | None = None
    """The share of `load_average` that our own models cause: not held against them."""
    own_gpu_percent: float | None = None
    """The share of `gpu_percent` that our own models use: not held against them."""
    memory_available_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class NetworkSample:
    """The way to one server, or the network as a whole, at one moment."""

    time_s: float
    """When, on the same clock."""
    reachable: bool | None = None
    latency_ms: float | None = None
    packet_loss_percent: float | None = None
    """Failed connection attempts, 0 to 100."""
    bandwidth_mbps: float | None = None
    """Megabits a second."""
    observed_s: float | None = field(default=None, compare=False)
    """When the newest of these was observed. None: not told."""


_SMALL = re.compile(r"(?<![a-z])(mini|nano|micro|small|tiny|lite|flash|haiku)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RoutingContext:
    """What is decided on, beside the candidates."""

    needs: Needs
    situation: Situation
    policy: Policy
    is_local_only: bool
    """Whether no cloud model may see the prompt, by the request, its session or its policy."""
    max_cost: float
    """The lower of the request's cap and the policy's; infinite without either."""
    deadline_s: float
    """Seconds that are left for the answer; infinite without a deadline."""

    @classmethod
    def of(cls, needs: Needs, situation: Situation, policy: Policy) -> RoutingContext:
        """Return what these ask for together."""
        max_cost = min(value_or(needs.max_cost, math.inf), value_or(policy.max_cost, math.inf))
        is_local_only = needs.local_only or policy.local_only
        return cls(needs, situation, policy, is_local_only, max_cost, value_or(needs.deadline_s, math.inf))


def value_or(value: float | None, unknown: float) -> float:
    """Return the value; `unknown` where it is not known or not finite."""
    return unknown if value is None or not math.isfinite(value) else value


def seconds(candidate: Candidate) -> float:
    """Estimate the answer's time: as recent ones, once more for each ahead of it. 0: not known."""
    took = value_or(candidate.seconds, 0.0)
    return took * (1 + candidate.ahead) if candidate.ahead > 0 else took


def is_limited(candidate: Candidate) -> bool:
    """Return whether it is in the cloud and badly reached."""
    return candidate.location is Location.CLOUD and candidate.network.state is ConnectivityState.DEGRADED


@lru_cache(1024)
def is_small(model: str) -> bool:
    """Return whether a model's name calls it small, as vendors do: mini, haiku, flash."""
    return _SMALL.search(model) is not None
