"""Caps on spending, held against a decision."""

from __future__ import annotations

from oblixd.routing import Decision
from oblixd.usage.budgets import BudgetState


def told(reached: BudgetState) -> str:
    """Which cap is reached, for a person."""
    return f"the {reached.period}'s cap of {reached.limit:g} {reached.currency} is reached"


def within(reached: BudgetState, decision: Decision, frugal: Decision) -> Decision:
    """Of two decisions, one without the cap and one for which what costs something is out, the one to follow.

    Raises ResourceExhaustedError BUDGET_SPENT where no model that costs nothing is left,
    and where the configuration says that a prompt which would have gone to another one
    is refused then.
    """
    if not _first(decision):
        return decision
    refuses = reached.action == "refuse" and _first(frugal) != _first(decision)
    if refuses or not _first(frugal):
        raise reached.error()
    return frugal


def _first(decision: Decision) -> str:
    """Who would be asked first; empty: nobody may."""
    return decision.ranked[0].key if decision.ranked and decision.ranked[0].rank else ""
