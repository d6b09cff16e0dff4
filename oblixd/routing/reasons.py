"""What a decision says to a person: the situation with its numbers and their age."""

from __future__ import annotations

from oblixd.routing.assess import Situation
from oblixd.routing.rules import Row
from oblixd.routing.types import Location, Reading, ResourceState

_NAMES = {
    "cpu_percent": ("CPU", " %"),
    "memory_percent": ("memory", " %"),
    "load_average": ("load", ""),
    "gpu_percent": ("GPU", " %"),
    "latency_ms": ("latency", " ms"),
    "packet_loss_percent": ("packet loss", " %"),
    "bandwidth_mbps": ("bandwidth", " Mbps"),
}


def order(row: Row, situation: Situation) -> str:
    """Which models go first, and the situation that asks for it."""
    first = "local models go first" if row.prefers is Location.LOCAL else "cloud models go first"
    if row.small_first:
        first += ", and of cloud models the small ones"
    return f"{first}, because {_situation(row, situation)}"


def missing(row: Row, situation: Situation) -> str:
    """Why the place that goes first has nobody: nothing was hooked there."""
    wanted = "local" if row.prefers is Location.LOCAL else "cloud"
    return f"No {wanted} model is hooked; one would go first now, because {_situation(row, situation)}."


def place(location: Location) -> str:
    """Where a candidate runs."""
    return "It runs on this machine" if location is Location.LOCAL else "It runs in the cloud"


def _situation(row: Row, situation: Situation) -> str:
    machine = _machine(situation)
    match row.rule:
        case "OFFLINE":
            return "cloud models can't be reached" + _numbers(
                situation.connectivity_readings, only_beyond=True
            )
        case "LIMITED_NETWORK":
            return _limited(situation)
        case "OVERLOADED_AND_LIMITED":
            return f"{machine}, although {_limited(situation)}"
        case _:
            return machine


def _limited(situation: Situation) -> str:
    return "the network is limited" + _numbers(situation.connectivity_readings, only_beyond=True)


def _machine(situation: Situation) -> str:
    readings = situation.resource_readings
    if situation.resources is ResourceState.UNKNOWN:
        return "nothing is known against this machine"
    if situation.resources is ResourceState.AVAILABLE:
        return "this machine has room" + _numbers(readings, only_beyond=False)
    return f"this machine is {situation.resources.name.lower()}" + _numbers(readings, only_beyond=True)


def _numbers(readings: tuple[Reading, ...], *, only_beyond: bool) -> str:
    shown = [r for r in readings if r.name in _NAMES and (r.beyond or not only_beyond)]
    words = [_number(reading) for reading in shown]
    age_s = next((r.age_s for r in readings if r.age_s is not None), None)
    if age_s is not None:
        words.append(f"measured {_short(age_s)} s ago")
    return f" ({', '.join(words)})" if words else ""


def _number(reading: Reading) -> str:
    name, unit = _NAMES[reading.name]
    limit = f" against a threshold of {_short(reading.threshold)}{unit}" if reading.beyond else ""
    return f"{name} {_short(reading.value)}{unit}{limit}"


def _short(value: float) -> str:
    return f"{round(value, 1):g}"
