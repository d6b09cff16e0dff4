"""decide(): who takes a prompt, in which order, and why."""

from __future__ import annotations

from collections.abc import Sequence

from oblixd.routing.explanation import Explanation, RankedCandidate, refusal
from oblixd.routing.inputs import (
    Candidate,
    ConnectivityState,
    Decision,
    Location,
    Needs,
    NetworkState,
    RoutingContext,
    Situation,
)
from oblixd.routing.policy import Policy
from oblixd.routing.rules import EXCLUDES, LAST, LATER, ORDERS, Rule

_BY_BEST = (
    ConnectivityState.OPTIMAL,
    ConnectivityState.UNKNOWN,
    ConnectivityState.DEGRADED,
    ConnectivityState.DISCONNECTED,
)


def decide(needs: Needs, candidates: Sequence[Candidate], situation: Situation, policy: Policy) -> Decision:
    """Rank the candidates. Pure and total: no clock, no I/O, the same answer to the same question.

    The rules stand in `retention_rules.py` in their order. An unavailable candidate keeps
    a place behind the available ones: the attempt on it says what to do.
    """
    question = RoutingContext.of(needs, situation, policy)
    excluded = [(candidate, _first_match(EXCLUDES, candidate, question)) for candidate in candidates]
    allowed = [_rank(candidate, question) for candidate, rule in excluded if rule is None]
    allowed.sort(key=lambda standing: standing.place)
    network = _network([standing.candidate for standing in allowed] or candidates, situation)
    story = Explanation(question, allowed, network)
    ranked = [story.verdict(standing, rank) for rank, standing in enumerate(allowed, start=1)]
    others = [refusal(candidate, rule, question) for candidate, rule in excluded if rule is not None]
    rule, reason = story.decision()
    return Decision(
        verdicts=(*ranked, *others),
        rule=rule,
        reason=reason,
        machine=situation.machine,
        network=network,
        local_only=question.is_local_only,
        policy=policy.name,
        policy_source=policy.source,
    )


def _rank(candidate: Candidate, question: RoutingContext) -> RankedCandidate:
    order = ORDERS[question.policy.order](candidate, question)
    last = _first_match(LAST, candidate, question)
    later = [rule.applies(candidate, question) for rule in LATER]
    against = last or (LATER[later.index(True)] if True in later else None)
    place = (last is not None, later, order, candidate.ahead > 0)
    return RankedCandidate(candidate, last is None, against, order, place)


def _first_match(rules: Sequence[Rule], candidate: Candidate, question: RoutingContext) -> Rule | None:
    for rule in rules:
        if rule.applies(candidate, question):
            return rule
    return None


def _network(candidates: Sequence[Candidate], situation: Situation) -> NetworkState:
    """Return the way to the best reachable cloud candidate; without one, the network as a whole."""
    ways = [candidate.network for candidate in candidates if candidate.location is Location.CLOUD]
    return min(ways, key=lambda way: _BY_BEST.index(way.state), default=situation.network)
