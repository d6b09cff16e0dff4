"""The rules, from top to bottom in the order in which they are asked.

1. `EXCLUDES`: who may not take the prompt at all. The first that applies is told.
2. `LAST`: who can't answer just now. They are tried when nobody else is left.
3. `LATER`: who could, but goes behind those to whom none of these applies. An
   earlier rule outweighs all later ones.
4. `ORDERS`: who goes first by the request's policy. The policy `balanced` reads
   `TABLE`, where the first row that applies decides.
5. Whoever would have to wait for others goes behind its equals. Then the order
   in which the candidates were given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from oblixd.routing import reasons
from oblixd.routing.inputs import (
    Candidate,
    ConnectivityState,
    Location,
    MachineState,
    NetworkState,
    ResourceState,
    RoutingContext,
    is_limited,
    is_small,
    seconds,
    value_or,
)
from oblixd.routing.policy import Order


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that holds against a candidate."""

    name: str
    applies: Callable[[Candidate, RoutingContext], bool]
    reason: Callable[[Candidate, RoutingContext], str]


# 1. Who may not take the prompt.


def _is_not_local(candidate: Candidate, question: RoutingContext) -> bool:
    return question.is_local_only and candidate.location is Location.CLOUD


def _is_not_pinned(candidate: Candidate, question: RoutingContext) -> bool:
    return bool(question.needs.pin) and candidate.model != question.needs.pin


def _lacks_tools(candidate: Candidate, question: RoutingContext) -> bool:
    return question.needs.tools and candidate.has_tools is False


def _lacks_images(candidate: Candidate, question: RoutingContext) -> bool:
    return question.needs.images and candidate.has_images is False


def _costs_too_much(candidate: Candidate, question: RoutingContext) -> bool:
    return value_or(candidate.cost, -math.inf) > question.max_cost


def _is_not_free(candidate: Candidate, question: RoutingContext) -> bool:
    return bool(question.needs.spent_budget) and not candidate.is_free


EXCLUDES = (
    Rule("LOCAL_ONLY", _is_not_local, reasons.not_local),
    Rule("NOT_PINNED", _is_not_pinned, reasons.not_pinned),
    Rule("NO_TOOLS", _lacks_tools, reasons.no_tools),
    Rule("NO_IMAGES", _lacks_images, reasons.no_images),
    Rule("TOO_EXPENSIVE", _costs_too_much, reasons.too_expensive),
    Rule("BUDGET_SPENT", _is_not_free, reasons.budget_spent),
)


# 2. Who can't answer just now.


def _is_cut_off(candidate: Candidate, _: RoutingContext) -> bool:
    return candidate.location is Location.CLOUD and candidate.network.state is ConnectivityState.DISCONNECTED


def _is_unavailable(candidate: Candidate, _: RoutingContext) -> bool:
    return not candidate.available


def _has_no_memory(candidate: Candidate, question: RoutingContext) -> bool:
    if candidate.memory_bytes is None or candidate.location is Location.CLOUD:
        return False
    available = value_or(question.situation.machine.memory_available_bytes, math.inf)
    return value_or(candidate.memory_bytes, 0.0) > available


def _is_full(candidate: Candidate, _: RoutingContext) -> bool:
    limit = candidate.waiting_limit
    return limit is not None and candidate.ahead > 0 and candidate.waiting_count >= limit


LAST = (
    Rule("OFFLINE", _is_cut_off, reasons.offline),
    Rule("UNAVAILABLE", _is_unavailable, reasons.unavailable),
    Rule("NO_MEMORY", _has_no_memory, reasons.no_memory),
    Rule("QUEUE_FULL", _is_full, reasons.queue_full),
)


# 3. Who goes behind the others.


def _is_too_short(candidate: Candidate, _: RoutingContext) -> bool:
    return candidate.fits is False


def _is_too_slow(candidate: Candidate, question: RoutingContext) -> bool:
    return candidate.seconds is not None and seconds(candidate) > question.deadline_s


def _is_not_favoured(candidate: Candidate, question: RoutingContext) -> bool:
    target = question.needs.target
    return bool(target) and target not in {candidate.model, candidate.location.value}


LATER = (
    Rule("WINDOW_TOO_SHORT", _is_too_short, reasons.too_short),
    Rule("TOO_SLOW", _is_too_slow, reasons.too_slow),
    Rule("AGENT_TARGET", _is_not_favoured, reasons.not_favoured),
)


# 4. Who goes first: the documented table, and what other policies put in its place.


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: in a situation, which place goes first."""

    rule: str
    applies: Callable[[ResourceState, ConnectivityState], bool]
    prefers: Location
    takes_small: bool = False
    """Whether a small cloud model is as good a choice: its answers need neither bandwidth nor time."""


TABLE = (
    Row("OFFLINE", lambda _, network: network is ConnectivityState.DISCONNECTED, Location.LOCAL),
    Row(
        "OVERLOADED_AND_LIMITED",
        lambda machine, network: machine is ResourceState.CRITICAL and network is ConnectivityState.DEGRADED,
        Location.CLOUD,
        takes_small=True,
    ),
    Row(
        "LIMITED_NETWORK",
        lambda _, network: network is ConnectivityState.DEGRADED,
        Location.LOCAL,
        takes_small=True,
    ),
    Row("MACHINE_UNDER_LOAD", lambda machine, _: machine >= ResourceState.CONSTRAINED, Location.CLOUD),
    Row("ALL_WELL", lambda _, __: True, Location.LOCAL),
)
"""The first row that applies to the machine and to the way to a cloud model says which goes first."""


def row(machine: MachineState, network: NetworkState) -> Row:
    """Return the first line of the table that applies."""
    return next(row for row in TABLE if row.applies(machine.state, network.state))


SortKey = tuple[float, ...]
"""The smaller goes first."""


def _by_table(candidate: Candidate, question: RoutingContext) -> SortKey:
    """Place a cloud model before or behind the local ones, by the network to its own server."""
    if candidate.location is Location.LOCAL:
        return 0, 0, 0
    machine = question.situation.machine
    before = row(machine, candidate.network).prefers is Location.CLOUD
    return -1 if before else 1, *_by_network(candidate)


def _local_first(candidate: Candidate, _: RoutingContext) -> SortKey:
    return candidate.location is Location.CLOUD, *_by_network(candidate)


def _cloud_first(candidate: Candidate, _: RoutingContext) -> SortKey:
    return candidate.location is Location.LOCAL, *_by_network(candidate)


def _by_cost(candidate: Candidate, question: RoutingContext) -> SortKey:
    """Return a local model without a price costs nothing; a cloud model without one goes last."""
    free = 0.0 if candidate.location is Location.LOCAL else math.inf
    return value_or(candidate.cost, free), *_by_table(candidate, question)


def _by_speed(candidate: Candidate, question: RoutingContext) -> SortKey:
    """Order by speed, unmeasured models first: nothing is learned of a model that is never asked."""
    return seconds(candidate), *_by_table(candidate, question)


def _by_network(candidate: Candidate) -> SortKey:
    """Order cloud models by their network: the well reached ones first, then the small ones."""
    limited = is_limited(candidate)
    return limited, limited and not is_small(candidate.model)


ORDERS: dict[Order, Callable[[Candidate, RoutingContext], SortKey]] = {
    Order.TABLE: _by_table,
    Order.LOCAL: _local_first,
    Order.CLOUD: _cloud_first,
    Order.COST: _by_cost,
    Order.SPEED: _by_speed,
}
