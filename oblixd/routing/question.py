"""What the rules look at: the question as a whole, and what it makes of a candidate's numbers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

from oblixd.routing.policy import Policy
from oblixd.routing.types import Candidate, ConnectivityState, Location, Needs, Situation

_SMALL = re.compile(r"(?<![a-z])(mini|nano|micro|small|tiny|lite|flash|haiku)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Question:
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
    def of(cls, needs: Needs, situation: Situation, policy: Policy) -> Question:
        """What these ask for together."""
        max_cost = min(known(needs.max_cost, math.inf), known(policy.max_cost, math.inf))
        is_local_only = needs.local_only or policy.local_only
        return cls(needs, situation, policy, is_local_only, max_cost, known(needs.deadline_s, math.inf))


def known(value: float | None, unknown: float) -> float:
    """The value; `unknown` where it is not known or not finite."""
    return unknown if value is None or not math.isfinite(value) else value


def seconds(candidate: Candidate) -> float:
    """How long the answer would take: as those of late, once more for each ahead of it. 0: not known."""
    took = known(candidate.seconds, 0.0)
    return took * (1 + candidate.ahead) if candidate.ahead > 0 else took


def is_limited(candidate: Candidate) -> bool:
    """Whether it is in the cloud and badly reached."""
    return candidate.location is Location.CLOUD and candidate.network.state is ConnectivityState.DEGRADED


@lru_cache(1024)
def is_small(model: str) -> bool:
    """Whether a model's name calls it small, as vendors do: mini, haiku, flash."""
    return _SMALL.search(model) is not None
