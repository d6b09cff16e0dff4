"""Policies: which models a request wants to go first, and the thresholds that it is held against."""

from __future__ import annotations

import enum
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TypeVar

from oblixd.errors import InvalidArgumentError, out_of_range


@dataclass(frozen=True, slots=True)
class ResourceThresholds:
    """At or over a threshold the machine is constrained, at or over a critical one critical."""

    cpu_threshold: float = 80.0
    """Percent, 0 to 100."""
    memory_threshold: float = 85.0
    """Percent, 0 to 100."""
    load_threshold: float = 4.0
    """Load average over one minute, 0 or more."""
    gpu_threshold: float = 85.0
    """Percent, 0 to 100."""
    critical_cpu: float = 90.0
    """Percent, 0 to 100. Wins over `cpu_threshold`, also where it is the lower one."""
    critical_memory: float = 95.0
    """Percent, 0 to 100."""
    critical_gpu: float = 95.0
    """Percent, 0 to 100."""


@dataclass(frozen=True, slots=True)
class ConnectivityThresholds:
    """A value beyond its threshold makes the network degraded."""

    latency_threshold: float = 200.0
    """Milliseconds, 0 or more. Degraded above it."""
    packet_loss_threshold: float = 10.0
    """Percent, 0 to 100. Degraded above it."""
    bandwidth_threshold: float = 5.0
    """Megabits a second, 0 or more. Degraded below it."""


class Order(enum.Enum):
    """Which models go first, of those that can answer."""

    TABLE = "table"
    """As the documented table says: by the state of machine and network."""
    LOCAL = "local"
    """Local models, whatever the machine's load."""
    CLOUD = "cloud"
    """Cloud models, whatever the network's state, as long as they can be reached."""
    COST = "cost"
    """The cheapest for this prompt."""
    SPEED = "speed"
    """The one whose answer is whole first, by its answers of late."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How a request wants to be routed."""

    resources: ResourceThresholds = ResourceThresholds()
    connectivity: ConnectivityThresholds = ConnectivityThresholds()
    name: str = "balanced"
    order: Order = Order.TABLE
    local_only: bool = False
    """No cloud model may see it."""
    private_by: str = ""
    """Which policy says so, and who chose that, where it is another one. Empty: this one."""
    max_cost: float | None = None
    """The most that a prompt may cost. None: anything."""
    source: str = "default"
    """Who chose it: request, session, rule or default."""


NAMED: Mapping[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy(name="balanced"),
        Policy(name="prefer-local", order=Order.LOCAL),
        Policy(name="prefer-cloud", order=Order.CLOUD),
        Policy(name="cheapest", order=Order.COST),
        Policy(name="fastest", order=Order.SPEED),
        Policy(name="private", local_only=True),
    )
}
"""The policies that are always there."""

_UNBOUNDED = frozenset({"load_threshold", "latency_threshold", "bandwidth_threshold"})
_LARGEST = sys.float_info.max

_Thresholds = TypeVar("_Thresholds", ResourceThresholds, ConnectivityThresholds)


def policy_from(
    resources: Mapping[str, object],
    connectivity: Mapping[str, object],
    max_cost: object = None,
    base: Policy = NAMED["balanced"],
) -> Policy:
    """Return the policy `base` with the given thresholds by name and the given cap.

    Raises InvalidArgumentError INVALID_THRESHOLD for a name that is unknown or
    a value that is not a finite number in its range. 0 is legal.
    """
    cap = base.max_cost if max_cost is None else _check_percent("policy.max_cost", _LARGEST, max_cost)
    return replace(
        base,
        resources=_thresholds(base.resources, "policy.resources", resources),
        connectivity=_thresholds(base.connectivity, "policy.connectivity", connectivity),
        max_cost=cap,
    )


def _thresholds(base: _Thresholds, path: str, values: Mapping[str, object]) -> _Thresholds:
    if not values:
        return base
    known = [field.name for field in fields(base)]
    return replace(
        base, **{name: _check_number(f"{path}.{name}", name, known, value) for name, value in values.items()}
    )


def _check_number(path: str, name: str, names: list[str], value: object) -> float:
    if name not in names:
        raise _refusal(path, f"one of {', '.join(names)}", name)
    return _check_percent(path, _LARGEST if name in _UNBOUNDED else 100.0, value)


def _check_percent(path: str, top: float, value: object) -> float:
    # A bool is an int to Python, and no threshold to a person.
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= top:
        return float(value)
    limit = "a finite number, 0 or more" if top == _LARGEST else "a number from 0 to 100"
    raise _refusal(path, limit, value)


def _refusal(path: str, limit: str, value: object) -> InvalidArgumentError:
    return out_of_range("INVALID_THRESHOLD", path, limit, repr(value)[:100])
