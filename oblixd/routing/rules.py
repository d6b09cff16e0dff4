"""The rules, in the order in which they are asked. The first that applies decides.

1. Who may take the prompt at all (`exclusion`):

    LOCAL_ONLY       a cloud model, and the request is local-only
    NOT_PINNED       another model than the one that the request pins

2. Which place goes first (`TABLE`):

    OFFLINE                 no network                           local
    OVERLOADED_AND_LIMITED  critical machine, degraded network   cloud, small models first
    LIMITED_NETWORK         degraded network                     local, then cloud, small models first
    MACHINE_UNDER_LOAD      constrained or critical machine      cloud
    ALL_WELL                anything else                        local

3. Who goes first (`ranking.py`): who can answer before who can't, then the
   table's place before the other, then the order in which they were given.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from oblixd.routing.assess import Situation
from oblixd.routing.types import Candidate, ConnectivityState, Location, Needs, ResourceState


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    rule: str
    applies: Callable[[Situation], bool]
    prefers: Location
    small_first: bool = False
    """Among cloud models the small ones go first: their answers are short of neither bandwidth nor time."""


def exclusion(needs: Needs, candidate: Candidate) -> tuple[str, str] | None:
    """The rule and the reason that exclude a candidate, None where it may take the prompt."""
    if needs.local_only and candidate.location is Location.CLOUD:
        return "LOCAL_ONLY", "It runs in the cloud, and this request or its session is local-only."
    if needs.pin and candidate.model != needs.pin:
        return "NOT_PINNED", f"The request pins {needs.pin}."
    return None


def preference(situation: Situation) -> Row:
    """The first line of the table that applies."""
    return next(row for row in TABLE if row.applies(situation))


def is_small(candidate: Candidate) -> bool:
    """Whether its name calls it small, as vendors do: mini, haiku, flash."""
    return _SMALL.search(candidate.model) is not None


def _is_offline(situation: Situation) -> bool:
    return situation.connectivity is ConnectivityState.DISCONNECTED


def _is_limited(situation: Situation) -> bool:
    return situation.connectivity is ConnectivityState.DEGRADED


def _is_under_load(situation: Situation) -> bool:
    return situation.resources >= ResourceState.CONSTRAINED


def _is_overloaded_and_limited(situation: Situation) -> bool:
    return situation.resources is ResourceState.CRITICAL and _is_limited(situation)


def _always(_: Situation) -> bool:
    return True


TABLE = (
    Row("OFFLINE", _is_offline, Location.LOCAL),
    Row("OVERLOADED_AND_LIMITED", _is_overloaded_and_limited, Location.CLOUD, small_first=True),
    Row("LIMITED_NETWORK", _is_limited, Location.LOCAL, small_first=True),
    Row("MACHINE_UNDER_LOAD", _is_under_load, Location.CLOUD),
    Row("ALL_WELL", _always, Location.LOCAL),
)

_SMALL = re.compile(r"(?<![a-z])(mini|nano|micro|small|tiny|lite|flash|haiku)(?![a-z])", re.IGNORECASE)
