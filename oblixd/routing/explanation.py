"""Why a ranking is as it is: the rule and the reason of the decision, and of each candidate's place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from oblixd.routing import reasons
from oblixd.routing.inputs import (
    Candidate,
    Location,
    NetworkState,
    Reading,
    RoutingContext,
    Verdict,
    is_small,
    seconds,
    value_or,
)
from oblixd.routing.policy import Order
from oblixd.routing.rules import Row, Rule, SortKey, row

_NAMED = {
    Order.LOCAL: Row("PREFER_LOCAL", lambda _, __: True, Location.LOCAL),
    Order.CLOUD: Row("PREFER_CLOUD", lambda _, __: True, Location.CLOUD),
    Order.COST: Row("CHEAPEST", lambda _, __: True, Location.LOCAL),
    Order.SPEED: Row("FASTEST", lambda _, __: True, Location.LOCAL),
}
"""What stands in the place of a row of the table under the policies that do not read it."""


@dataclass(frozen=True, slots=True)
class RankedCandidate:
    """A candidate that may take the prompt, and how it stands."""

    candidate: Candidate
    can_answer: bool
    against: Rule | None
    """The first rule that holds against it."""
    order: SortKey
    """Its place by the policy alone."""
    place: tuple[bool, list[bool], SortKey, bool]
    """Its place in the ranking."""


class Explanation:
    """Tells why the ranking is as it is."""

    def __init__(
        self, question: RoutingContext, allowed_candidates: Sequence[RankedCandidate], network: NetworkState
    ) -> None:
        self._question = question
        self._allowed_candidates = allowed_candidates
        self._network = network
        self._row = _NAMED.get(question.policy.order) or row(question.situation.machine, network)
        self._order = self._words(self._row, network)

    def verdict(self, subject: RankedCandidate, rank: int) -> Verdict:
        """Return what became of a candidate that may take the prompt."""
        candidate, question = subject.candidate, self._question
        if subject.against is not None:
            rule, reason = subject.against.name, subject.against.reason(candidate, question)
        elif question.needs.pin:
            rule, reason = "PINNED", f"The request pins {question.needs.pin}."
        else:
            rule, reason = self._by_policy(candidate)
        if candidate.ahead > 0:
            reason += reasons.waits(candidate, question)
        readings = _readings(candidate, question)
        return Verdict(candidate.key, candidate.model, candidate.location, rank, rule, reason, readings)

    def decision(self) -> tuple[str, str]:
        """Return the rule that put the first candidate first."""
        needs = self._question.needs
        if not self._allowed_candidates:
            return "NO_MODEL_ALLOWED", "Every model is excluded: see the reason of each."
        if needs.pin:
            return "PINNED", f"The request pins {needs.pin}, which goes before everything else."
        if self._question.is_local_only:
            return "LOCAL_ONLY", self._local_only()
        first = self._allowed_candidates[0]
        if not first.can_answer:
            told = f"No model can answer just now, so {first.candidate.model} is tried: {self._order}."
            return "LAST_RESORT", told
        return self._among_able(first)

    def _among_able(self, first: RankedCandidate) -> tuple[str, str]:
        wanted = min(self._allowed_candidates, key=lambda standing: standing.order)
        if first.order > wanted.order and wanted.against is not None:
            return self._instead(first, wanted, wanted.against)
        if not any(self._is_wanted(standing.candidate) for standing in self._allowed_candidates):
            return "ONLY_CHOICE", self._missing_location_text()
        return self._row.rule, f"{self._order[0].upper()}{self._order[1:]}."

    def _instead(self, first: RankedCandidate, preferred: RankedCandidate, rule: Rule) -> tuple[str, str]:
        """Say why another one is first than the policy alone would have put there."""
        reason = rule.reason(preferred.candidate, self._question)
        if rule.name == "AGENT_TARGET":
            return rule.name, f"{first.candidate.model} goes first. {reason}"
        best = f"{first.candidate.model} is the next best: {self._order}"
        told = f"{best}. Of {preferred.candidate.model}: {reason}"
        return "OFFLINE" if rule.name == "OFFLINE" else "NEXT_BEST", told

    def _by_policy(self, candidate: Candidate) -> tuple[str, str]:
        """Return the rule and the reason of a place that the policy gave."""
        mine, words, network = self._row, self._order, candidate.network
        reads_table = self._question.policy.order is Order.TABLE and candidate.location is Location.CLOUD
        if reads_table and network is not self._network:
            mine = row(self._question.situation.machine, network)
            words = self._words(mine, network)
        return mine.rule, reasons.place(candidate, self._question, words)

    def _is_wanted(self, candidate: Candidate) -> bool:
        """Return whether it is where the policy would send the prompt."""
        if self._question.policy.order in {Order.COST, Order.SPEED}:
            return True
        is_small_cloud = candidate.location is Location.CLOUD and is_small(candidate.model)
        return candidate.location is self._row.prefers or (self._row.takes_small and is_small_cloud)

    def _words(self, row: Row, network: NetworkState) -> str:
        return reasons.order(self._question, row.prefers, row.takes_small, network, row.rule)

    def _missing_location_text(self) -> str:
        """Say why the location that goes first has no model: nothing was hooked there."""
        place = self._row.prefers.value
        return f"No {place} model may take it; one would go first now: {self._order}."

    def _local_only(self) -> str:
        if self._question.needs.local_only:
            return "This request or its session is local-only: no cloud model may see it."
        policy = self._question.policy
        return f"The policy {policy.private_by or policy.name} is local-only: no cloud model may see it."


def refusal(candidate: Candidate, rule: Rule, question: RoutingContext) -> Verdict:
    """Return what became of a candidate that may not take the prompt."""
    reason, readings = rule.reason(candidate, question), _readings(candidate, question)
    return Verdict(candidate.key, candidate.model, candidate.location, 0, rule.name, reason, readings)


def _readings(candidate: Candidate, question: RoutingContext) -> tuple[Reading, ...]:
    """List the candidate's own numbers, each with its limit. Unknown ones are left out."""
    found = list(candidate.network.readings) if candidate.location is Location.CLOUD else []
    if candidate.waiting_count > 0:
        found.append(
            _reading("queue_waiting", candidate.waiting_count, value_or(candidate.waiting_limit, math.inf))
        )
    if candidate.fits is not None:
        found.append(_reading("context_window", value_or(candidate.context_window, 0.0), math.inf))
    if candidate.memory_bytes is not None:
        available = value_or(question.situation.machine.memory_available_bytes, math.inf)
        found.append(_reading("memory_bytes", value_or(candidate.memory_bytes, 0.0), available))
    if candidate.cost is not None:
        found.append(_reading("cost", value_or(candidate.cost, 0.0), question.max_cost))
    if candidate.seconds is not None:
        found.append(_reading("answer_seconds", seconds(candidate), question.deadline_s))
    return tuple(found)


def _reading(name: str, value: float, limit: float) -> Reading:
    return Reading(name, value, None if limit == math.inf else limit, beyond=value > limit)
