"""decide(): who takes a prompt, in which order, and why."""

from __future__ import annotations

from collections.abc import Sequence

from oblixd.routing import reasons
from oblixd.routing.assess import Situation, assess
from oblixd.routing.policy import Policy
from oblixd.routing.rules import Row, exclusion, is_small, preference
from oblixd.routing.types import (
    Candidate,
    ConnectivityState,
    Decision,
    Location,
    Machine,
    Needs,
    Verdict,
)


def decide(needs: Needs, candidates: Sequence[Candidate], machine: Machine, policy: Policy) -> Decision:
    """Rank the candidates. Pure and total: no clock, no I/O, the same answer to the same question.

    The rules stand in `rules.py` in their order. An unavailable candidate keeps
    a place behind the available ones: the attempt on it says what to do.
    """
    situation = assess(machine, policy)
    row = preference(situation)
    exclusions = [(candidate, exclusion(needs, candidate)) for candidate in candidates]
    allowed = [candidate for candidate, excluded in exclusions if excluded is None]
    allowed.sort(key=lambda candidate: _place(candidate, row, situation))
    order = reasons.order(row, situation)
    ranked = [
        _verdict(candidate, rank, *_placed(candidate, needs, row, situation, order))
        for rank, candidate in enumerate(allowed, start=1)
    ]
    excluded = [_verdict(candidate, 0, *why) for candidate, why in exclusions if why is not None]
    rule, reason = _deciding(needs, allowed, row, situation, order)
    return Decision(
        ranked=(*ranked, *excluded),
        rule=rule,
        reason=reason,
        resource_state=situation.resources,
        resource_target=situation.resource_target,
        connectivity_state=situation.connectivity,
        connectivity_target=situation.connectivity_target,
        readings=situation.resource_readings + situation.connectivity_readings,
    )


def _place(candidate: Candidate, row: Row, situation: Situation) -> tuple[bool, bool, bool]:
    """The smaller goes first; equal ones keep the order in which they were given."""
    too_large = row.small_first and candidate.location is Location.CLOUD and not is_small(candidate)
    return not _can_answer(candidate, situation), candidate.location is not row.prefers, too_large


def _is_preferred(candidate: Candidate, row: Row) -> bool:
    small_cloud = candidate.location is Location.CLOUD and is_small(candidate)
    return candidate.location is row.prefers or (row.small_first and small_cloud)


def _can_answer(candidate: Candidate, situation: Situation) -> bool:
    return candidate.available and not _is_cut_off(candidate, situation)


def _is_cut_off(candidate: Candidate, situation: Situation) -> bool:
    offline = situation.connectivity is ConnectivityState.DISCONNECTED
    return offline and candidate.location is Location.CLOUD


def _placed(
    candidate: Candidate, needs: Needs, row: Row, situation: Situation, order: str
) -> tuple[str, str]:
    """The rule and the reason of an allowed candidate's place."""
    if not candidate.available:
        return "UNAVAILABLE", candidate.unavailable_reason or "It can't answer just now."
    if needs.pin:
        return "PINNED", f"The request pins {needs.pin}."
    return row.rule, f"{reasons.place(candidate.location)}; {order}."


def _deciding(
    needs: Needs, allowed: Sequence[Candidate], row: Row, situation: Situation, order: str
) -> tuple[str, str]:
    """The rule that put the first candidate first."""
    if not allowed:
        return "NO_MODEL_ALLOWED", "Every model is excluded: see the reason of each."
    if needs.pin:
        return "PINNED", f"The request pins {needs.pin}, which goes before everything else."
    if needs.local_only:
        return "LOCAL_ONLY", "This request or its session is local-only: no cloud model may see it."
    first = allowed[0]
    if not _can_answer(first, situation):
        return "LAST_RESORT", f"No model can answer just now, so {first.model} is tried: {order}."
    if not any(_is_preferred(candidate, row) for candidate in allowed):
        return "ONLY_CHOICE", reasons.missing(row, situation)
    if not _is_preferred(first, row):
        return "NEXT_BEST", f"{first.model} is the next best: {order}, and none of those can take it."
    return row.rule, f"{order[0].upper()}{order[1:]}."


def _verdict(candidate: Candidate, rank: int, rule: str, reason: str) -> Verdict:
    return Verdict(candidate.key, candidate.model, candidate.location, rank, rule, reason)
