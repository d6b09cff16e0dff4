"""Retry: the same model once more, after a short wait, inside a budget.

Only what may pass by itself is tried again. The waits double from 0.25 s and are
jittered over their whole length ("full jitter": AWS Architecture Blog,
"Exponential Backoff And Jitter", 2015), so that ten programs that were refused
together do not come back together. Where the server says when to come back, that
is obeyed, or, where it is past the budget, not tried at all.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from oblixd.models import ModelError, ModelErrorKind

FIRST_WAIT_S = 0.25
_PASSING = frozenset(
    {
        ModelErrorKind.RATE_LIMITED,
        ModelErrorKind.OVERLOADED,
        ModelErrorKind.FAILED,
        ModelErrorKind.BROKEN_STREAM,
        ModelErrorKind.EMPTY,
    }
)


@dataclass(slots=True)
class RetryBudget:
    """What one execution may spend on trying models again."""

    tries: int = 2
    """Retries of one model at most."""
    wait_s: float = 5.0
    """Seconds of waiting that are left, over all models."""

    def wait_before(self, error: ModelError, tried: int) -> float | None:
        """Seconds to wait before the same model is tried again; None: it is not. Takes them off the budget.

        `tried` counts the tries so far, from 1.
        """
        if error.kind not in _PASSING or error.is_final or tried > self.tries:
            return None
        wait_s = error.retry_after_s
        if wait_s is None:
            wait_s = random.uniform(0, FIRST_WAIT_S * 2 ** (tried - 1))  # noqa: S311 - spread, not secrecy
        return wait_s if self.take(wait_s) else None

    def take(self, wait_s: float) -> bool:
        """Take a wait off the budget. False: it is longer than what is left, and nothing is taken."""
        if wait_s > self.wait_s:
            return False
        self.wait_s -= wait_s
        return True
