"""Caps on spending, held against a decision: the last word on where a prompt may go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from oblixd.execution.candidates import key
from oblixd.models.base import Location
from oblixd.models.registry import Hook
from oblixd.routing import Decision, Verdict
from oblixd.usage import Usage
from oblixd.usage.budgets import BudgetState

RULE = "BUDGET_SPENT"


def within_caps(decision: Decision, hooks: Sequence[Hook], usage: Usage) -> Decision:
    """The decision without the models that cost something, once a cap is reached.

    A model whose price is not known counts as one that does, unless it is local.
    Raises ResourceExhaustedError BUDGET_SPENT where no model that costs nothing is
    left, and where the configuration says that a prompt which would have gone to
    another one is refused then.
    """
    reached = usage.reached()
    if reached is None or not (decision.ranked and decision.ranked[0].rank):
        return decision
    free = {key(hook) for hook in hooks if _is_free(hook, usage)}
    first, *_ = decision.ranked
    left = [verdict for verdict in decision.ranked if verdict.rank and verdict.key in free]
    if not left or (reached.action == "refuse" and first.key not in free):
        raise reached.error()
    return _without(decision, left, reached)


def _without(decision: Decision, left: Sequence[Verdict], reached: BudgetState) -> Decision:
    spent = f"the {reached.period}'s cap of {reached.limit:g} {reached.currency} is reached"
    ranked = [replace(verdict, rank=rank) for rank, verdict in enumerate(left, 1)]
    others = [verdict for verdict in decision.ranked if verdict not in left]
    excluded = [
        replace(verdict, rank=0, rule=RULE, reason=f"It costs something, and {spent}.")
        if verdict.rank
        else verdict
        for verdict in others
    ]
    decided = replace(decision, ranked=(*ranked, *excluded))
    if left[0] is decision.ranked[0]:
        return decided
    reason = f"{left[0].model} costs nothing, and {spent}."
    return replace(decided, rule=RULE, reason=reason)


def _is_free(hook: Hook, usage: Usage) -> bool:
    price = usage.price(hook.id, is_local=hook.connection.location is Location.LOCAL)
    return price is not None and price.input == price.output == 0
