"""Fallback: a model's failure is answered by the next model of the route.

Until the first content came that is unseen, but reported. Afterwards a part was
seen: then it only happens where the request asked for it, and announced.

Rate limits are kept to before they are hit: who said when it takes requests again is not asked before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field

from oblix.v1 import executions_pb2

from oblixd.execution.errors import attempt
from oblixd.execution.retry import RetryBudget
from oblixd.models import ChatRequest, Connection, Content, Finished, Hook, ModelError, ModelErrorKind
from oblixd.router import Cooldowns, key


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
            raise _limit_error(connection, left_s)


def _limit_error(connection: Connection, left_s: float) -> ModelError:
    message = (
        f"The rate limit of {connection.provider}:{connection.name} is used up for {left_s:.0f} s more, "
        "as its server said, so nothing was sent. Wait so long, or use another model."
    )
    return ModelError(
        ModelErrorKind.RATE_LIMITED, message, endpoint=connection.endpoint, retry_after_s=left_s
    )


@dataclass(frozen=True, slots=True)
class Restart:
    """The answer begins anew: what came so far is to be forgotten."""

    from_model: str
    to_model: str
    error: ModelError


@dataclass(slots=True)
class Fallback:
    """The models of a route, tried in order until one answers."""

    ranked: Sequence[Hook]
    request_for: Callable[[Hook], Awaitable[ChatRequest]]
    place_at: Callable[[Hook], AbstractAsyncContextManager[None]]
    """Waits for a place at a model, and holds it."""
    cooldowns: Cooldowns
    may_send_less: Callable[[Hook, ModelError], bool] = lambda _hook, _error: False
    """Hears how a model failed; whether `request_for` has another request that is worth sending at once."""
    restarts: bool = False
    """Whether an answer that breaks off begins anew on the next model."""
    failed: list[executions_pb2.FailedAttempt] = field(default_factory=list)
    """What failed so far, in order."""
    _budget: RetryBudget = field(default_factory=RetryBudget)

    async def answer(self) -> AsyncGenerator[tuple[Hook, Content | Finished | Restart], None]:
        """Stream from the first model that answers. Raises the last ModelError."""
        for place, hook in enumerate(self.ranked):
            try:
                async with aclosing(self._with_retries(hook)) as stream:
                    async for item in stream:
                        yield hook, item
            except _BrokenError as broken:
                if not self.restarts or place + 1 == len(self.ranked):
                    raise broken.error from broken
                after = self.ranked[place + 1]
                yield after, Restart(hook.id, after.id, broken.error)
            except ModelError:
                if place + 1 == len(self.ranked):
                    raise
            else:
                return

    async def _with_retries(self, hook: Hook) -> AsyncGenerator[Content | Finished, None]:
        tried = 0
        while True:
            tried += 1
            try:
                async with aclosing(self._once(hook)) as stream:
                    async for item in stream:
                        yield item
            except ModelError as error:
                if self.may_send_less(hook, error):
                    self.failed[-1].retried = True
                    tried -= 1
                    continue
                wait_s = self._budget.wait_before(error, tried)
                self.failed[-1].retried = wait_s is not None
                if wait_s is None:
                    raise
                await asyncio.sleep(wait_s)
            else:
                return

    async def _once(self, hook: Hook) -> AsyncGenerator[Content | Finished, None]:
        started = False
        try:
            await until_allowed(hook.connection, self._budget, is_last=hook is self.ranked[-1])
            async with self.place_at(hook):
                await until_allowed(hook.connection, self._budget, is_last=hook is self.ranked[-1])
                request = await self.request_for(hook)
                async with aclosing(hook.connection.stream(request)) as stream:
                    async for item in stream:
                        started = True
                        yield item
        except ModelError as error:
            self.failed.append(attempt(hook.id, error))
            self.cooldowns.failed(key(hook), error, hook.connection.origin)
            if started:
                raise _BrokenError(error) from error
            raise
        else:
            self.cooldowns.answered(key(hook))


class _BrokenError(Exception):
    """An answer broke off after its first content came."""

    def __init__(self, error: ModelError) -> None:
        super().__init__(error.message)
        self.error = error
