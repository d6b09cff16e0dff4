"""Rate limits are kept to before they are hit: who said when it takes requests again is not asked before."""

from __future__ import annotations

import asyncio

from oblixd.execution.retry import RetryBudget
from oblixd.models.base import Connection, ModelError, ModelErrorKind


async def until_allowed(connection: Connection, budget: RetryBudget, *, is_last: bool) -> None:
    """Wait until the model's server takes requests, as long as the budget for retries allows.

    Where it does not, nothing is sent: raises ModelError RATE_LIMITED with the
    time that is left, as the server's own refusal would. Only the last model of
    a route is asked all the same: where nothing else can answer, the server's
    own refusal is worth more than a guess at it.
    """
    while (left_s := connection.limited_s) > 0:
        if budget.take(left_s):
            await asyncio.sleep(left_s)
        elif is_last:
            return
        else:
            raise _limited(connection, left_s)


def _limited(connection: Connection, left_s: float) -> ModelError:
    message = (
        f"The rate limit of {connection.provider}:{connection.name} is used up for {left_s:.0f} s more, "
        "as its server said, so nothing was sent. Wait so long, or use another model."
    )
    return ModelError(
        ModelErrorKind.RATE_LIMITED, message, endpoint=connection.endpoint, retry_after_s=left_s
    )
