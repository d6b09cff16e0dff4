"""What a decision says to a person: the situation with its numbers and their age."""

from __future__ import annotations

from oblixd.routing.inputs import (
    Candidate,
    Location,
    MachineState,
    NetworkState,
    Reading,
    ResourceState,
    RoutingContext,
    seconds,
    value_or,
)
from oblixd.routing.policy import Order

_NAMES = {
    "cpu_percent": ("CPU", " %"),
    "memory_percent": ("memory", " %"),
    "load_average": ("load", ""),
    "gpu_percent": ("GPU", " %"),
    "latency_ms": ("latency", " ms"),
    "packet_loss_percent": ("packet loss", " %"),
    "bandwidth_mbps": ("bandwidth", " Mbps"),
}
_MB = 1e6


def not_local(_: Candidate, question: RoutingContext) -> str:
    """LOCAL_ONLY."""
    if question.needs.local_only:
        return "It runs in the cloud, and this request or its session is local-only."
    policy = question.policy
    return f"It runs in the cloud, and the policy {policy.private_by or policy.name} is local-only."


def not_pinned(_: Candidate, question: RoutingContext) -> str:
    """NOT_PINNED."""
    return f"The request pins {question.needs.pin}."


def no_tools(_: Candidate, __: RoutingContext) -> str:
    """NO_TOOLS."""
    return "The request has tools, and it can't call any."


def no_images(_: Candidate, __: RoutingContext) -> str:
    """NO_IMAGES."""
    return "The prompt has an image, and it reads text only."


def too_expensive(candidate: Candidate, question: RoutingContext) -> str:
    """TOO_EXPENSIVE."""
    cost = value_or(candidate.cost, 0.0)
    return f"It would cost about {cost:.4g}, and at most {question.max_cost:.4g} is allowed."


def budget_spent(_: Candidate, question: RoutingContext) -> str:
    """BUDGET_SPENT."""
    return f"It costs something, and {question.needs.spent_budget}."


def offline(candidate: Candidate, _: RoutingContext) -> str:
    """OFFLINE."""
    return f"Its server can't be reached{_duration_text(candidate.network.for_s)}."


def unavailable(candidate: Candidate, _: RoutingContext) -> str:
    """UNAVAILABLE."""
    return candidate.unavailable_reason or "It can't answer just now."


def no_memory(candidate: Candidate, question: RoutingContext) -> str:
    """NO_MEMORY."""
    available = value_or(question.situation.machine.memory_available_bytes, 0.0)
    needed = value_or(candidate.memory_bytes, 0.0)
    return f"It has to be loaded into {needed / _MB:,.0f} MB, and {available / _MB:,.0f} MB are free."


def queue_full(candidate: Candidate, _: RoutingContext) -> str:
    """QUEUE_FULL."""
    return f"{candidate.waiting_count} prompts wait for it, and no more may."


def too_short(candidate: Candidate, _: RoutingContext) -> str:
    """WINDOW_TOO_SHORT."""
    window = value_or(candidate.context_window, 0.0)
    return f"Its context window of {window:,.0f} tokens is too short for all of it."


def too_slow(candidate: Candidate, question: RoutingContext) -> str:
    """TOO_SLOW."""
    took, left = seconds(candidate), question.deadline_s
    return f"Its answer would take about {took:.3g} s, and {left:.3g} s are left."


def not_favoured(_: Candidate, question: RoutingContext) -> str:
    """AGENT_TARGET, for those that it holds against."""
    return f"The agent {question.needs.agent} favours {question.needs.target}."


def waits(candidate: Candidate, _: RoutingContext) -> str:
    """Return what is said of one that has to wait."""
    return f" It would wait for {candidate.ahead} before it."


def place(candidate: Candidate, question: RoutingContext, why: str) -> str:
    """Say why a candidate that no rule is against has its place."""
    match question.policy.order:
        case Order.COST:
            return f"{_cost(candidate)}; {why}."
        case Order.SPEED:
            return f"{_speed(candidate)}; {why}."
        case _:
            runs = "on this machine" if candidate.location is Location.LOCAL else "in the cloud"
            return f"It runs {runs}; {why}."


def order(question: RoutingContext, first: Location, small: bool, network: NetworkState, rule: str) -> str:
    """Say which models go first, and what asks for it."""
    match question.policy.order:
        case Order.COST:
            return f"the cheapest goes first, because the policy is {question.policy.name}"
        case Order.SPEED:
            return f"the fastest goes first, because the policy is {question.policy.name}"
        case Order.TABLE:
            why = _situation(rule, question.situation.machine, network)
        case _:
            why = f"the policy is {question.policy.name}"
    some = ", and of cloud models the small ones" if small else ""
    return f"{first.value} models go first{some}, because {why}"


def _cost(candidate: Candidate) -> str:
    if candidate.cost is None:
        free = candidate.location is Location.LOCAL
        return "It runs on this machine and costs nothing" if free else "Its price is not known"
    return f"It would cost about {value_or(candidate.cost, 0.0):.4g}"


def _speed(candidate: Candidate) -> str:
    if not seconds(candidate):
        return "It has not answered lately, so it is tried"
    return f"Its answer would take about {seconds(candidate):.3g} s"


def _situation(rule: str, machine: MachineState, network: NetworkState) -> str:
    match rule:
        case "OFFLINE":
            return f"cloud models can't be reached{_numbers(network.readings, network.for_s)}"
        case "LIMITED_NETWORK":
            return _network_limits(network)
        case "OVERLOADED_AND_LIMITED":
            return f"{_machine(machine)}, although {_network_limits(network)}"
        case _:
            return _machine(machine)


def _network_limits(network: NetworkState) -> str:
    return f"the network is limited{_numbers(network.readings, network.for_s)}"


def _machine(machine: MachineState) -> str:
    if machine.state is ResourceState.UNKNOWN:
        return "nothing is known against this machine"
    if machine.state is ResourceState.AVAILABLE:
        return f"this machine has room{_numbers(machine.readings, None, only_beyond=False)}"
    return f"this machine is {machine.state.name.lower()}{_numbers(machine.readings, machine.for_s)}"


def _numbers(readings: tuple[Reading, ...], for_s: float | None, *, only_beyond: bool = True) -> str:
    shown = [r for r in readings if r.name in _NAMES and (r.beyond or not only_beyond)]
    words = [_number(reading) for reading in shown]
    if for_s is not None and for_s >= 1:
        words.append(f"for {for_s:.0f} s now")
    age_s = next((r.age_s for r in readings if r.age_s is not None), None)
    if age_s is not None:
        words.append(f"measured {_short(age_s)} s ago")
    return f" ({', '.join(words)})" if words else ""


def _number(reading: Reading) -> str:
    name, unit = _NAMES[reading.name]
    value, threshold = f"{name} {_short(reading.value)}{unit}", reading.threshold
    if not reading.beyond or threshold is None:
        return value
    limit, is_back = f"{_short(threshold)}{unit}", reading.value < threshold
    if reading.name == "bandwidth_mbps":
        return (
            f"{value} against a threshold of {limit}"
            if is_back
            else f"{value}, not yet for long over {limit}"
        )
    return (
        f"{value}, not yet for long under {limit}" if is_back else f"{value} against a threshold of {limit}"
    )


def _duration_text(for_s: float | None) -> str:
    return "" if for_s is None or for_s < 1 else f", for {for_s:.0f} s now"


def _short(value: float) -> str:
    return f"{round(value, 1):g}"
