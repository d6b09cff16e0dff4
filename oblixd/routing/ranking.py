"""decide(): who takes a prompt, in which order, and why."""

from __future__ import annotations

from collections.abc import Sequence

from oblixd.routing.policy import Policy
from oblixd.routing.question import Question
from oblixd.routing.rules import EXCLUDES, LAST, LATER, ORDERS, Rule
from oblixd.routing.story import Standing, Story, refused
from oblixd.routing.types import (
    Candidate,
    ConnectivityState,
    Decision,
    Location,
    Needs,
    NetworkState,
    Situation,
)

_BY_BEST = (
    ConnectivityState.OPTIMAL,
    ConnectivityState.UNKNOWN,
    ConnectivityState.DEGRADED,
    ConnectivityState.DISCONNECTED,
)


def decide(needs: Needs, candidates: Sequence[Candidate], situation: Situation, policy: Policy) -> Decision:
    """Rank the candidates. Pure and total: no clock, no I/O, the same answer to the same question.

    The rules stand in `rules.py` in their order. An unavailable candidate keeps
    a place behind the available ones: the attempt on it says what to do.
    """
    question = Question.of(needs, situation, policy)
    excluded = [(candidate, _first(EXCLUDES, candidate, question)) for candidate in candidates]
    allowed = [_standing(candidate, question) for candidate, rule in excluded if rule is None]
    allowed.sort(key=lambda standing: standing.place)
    network = _network([standing.candidate for standing in allowed] or candidates, situation)
    story = Story(question, allowed, network)
    ranked = [story.placed(standing, rank) for rank, standing in enumerate(allowed, start=1)]
    others = [refused(candidate, rule, question) for candidate, rule in excluded if rule is not None]
    rule, reason = story.decision()
    return Decision(
        ranked=(*ranked, *others),
        rule=rule,
        reason=reason,
        machine=situation.machine,
        network=network,
        local_only=question.is_local_only,
        policy=policy.name,
        policy_source=policy.source,
    )


def _standing(candidate: Candidate, question: Question) -> Standing:
    order = ORDERS[question.policy.order](candidate, question)
    last = _first(LAST, candidate, question)
    later = [rule.applies(candidate, question) for rule in LATER]
    against = last or (LATER[later.index(True)] if True in later else None)
    place = (last is not None, later, order, candidate.ahead > 0)
    return Standing(candidate, last is None, against, order, place)


def _first(rules: Sequence[Rule], candidate: Candidate, question: Question) -> Rule | None:
    for rule in rules:
        if rule.applies(candidate, question):
            return rule
    return None


def _network(candidates: Sequence[Candidate], situation: Situation) -> NetworkState:
    """The way to the best reachable cloud candidate; without one, the network as a whole."""
    ways = [candidate.network for candidate in candidates if candidate.location is Location.CLOUD]
    return min(ways, key=lambda way: _BY_BEST.index(way.state), default=situation.network)
