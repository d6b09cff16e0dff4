"""Fallback: a model's failure is answered by the next model of the route.

Until the first content came that is unseen, but reported. Afterwards a part was
seen: then it only happens where the request asked for it, and announced.

Rate limits are kept to before they are hit: who said when it takes requests again is not asked before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Protocol

from oblix.v1 import executions_pb2

from oblixd.client_memory import Share
from oblixd.execution.context import ContextBuilder
from oblixd.execution.errors import attempt
from oblixd.execution.retry import RetryBudget
from oblixd.models import (
    ChatRequest,
    Connection,
    Content,
    Finish,
    Finished,
    Hook,
    ModelError,
    ModelErrorKind,
)
from oblixd.router import Cooldowns
from oblixd.scheduling import ModelSlots, Priority, Ticket


async def wait_for_rate_limit(connection: Connection, budget: RetryBudget, *, is_last: bool) -> None:
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


class Progress(Protocol):
    """Who is told how an answer goes on."""

    def queued(self, position: int, model: str) -> None:
        """Take the position among those who wait for a slot of a model."""

    def runs(self, since_s: float) -> None:
        """Hear that there is a slot now, which was waited for since this moment of the monotonic clock."""

    def take(self, hook: Hook, content: Content) -> bool:
        """Take in the next piece of a model's answer. True: nothing more is wanted."""

    def finished(self, hook: Hook) -> None:
        """Hear that this model's answer is whole."""

    async def restart(self, hook: Hook, restart: Restart) -> None:
        """Forget what came: this model begins anew."""


@dataclass(slots=True)
class Fallback:
    """The models of a route, tried in order until one answers. It holds the slot and the context of each."""

    hooks: Sequence[Hook]
    context: ContextBuilder
    slots: ModelSlots
    cooldowns: Cooldowns
    progress: Progress
    client: str
    """Who shares slots fairly with others."""
    share: Share
    """What the execution holds of the clients' memory: the context, too, while a model reads it."""
    priority: Priority = Priority.INTERACTIVE
    restarts: bool = False
    """Whether an answer that breaks off begins anew on the next model."""
    failed_attempts: list[executions_pb2.FailedAttempt] = field(default_factory=list)
    """What failed so far, in order."""
    _budget: RetryBudget = field(default_factory=RetryBudget)
    _context_bytes: int = 0

    async def answer(self) -> Finished:
        """Have the first model answer that can. Raises the last ModelError."""
        for hook, after in zip_longest(self.hooks, self.hooks[1:]):
            try:
                return await self._with_retries(hook)
            except _BrokenError as broken:
                if not self.restarts or after is None:
                    raise broken.error from broken
                await self.progress.restart(after, Restart(hook.id, after.id, broken.error))
            except ModelError:
                if after is None:
                    raise
        raise AssertionError("a route has a model")

    async def _with_retries(self, hook: Hook) -> Finished:
        tried = 0
        while True:
            tried += 1
            try:
                return await self._attempt(hook)
            except ModelError as error:
                if self.context.may_send_less(hook, error):
                    self.failed_attempts[-1].retried = True
                    tried -= 1
                    continue
                wait_s = self._budget.wait_before(error, tried)
                self.failed_attempts[-1].retried = wait_s is not None
                if wait_s is None:
                    raise
                await asyncio.sleep(wait_s)

    async def _attempt(self, hook: Hook) -> Finished:
        received = _Received()
        try:
            finished = await self._ask(hook, received)
        except ModelError as error:
            self.failed_attempts.append(attempt(hook.id, error))
            self.cooldowns.record_failure(hook.key, error, hook.connection.origin)
            if received.is_any:
                raise _BrokenError(error) from error
            raise
        self.cooldowns.record_answer(hook.key)
        return finished

    async def _ask(self, hook: Hook, received: _Received) -> Finished:
        """Wait for a slot, send the context that fits, and pass on what comes."""
        is_last = hook is self.hooks[-1]
        await wait_for_rate_limit(hook.connection, self._budget, is_last=is_last)
        since_s = time.monotonic()
        async with self.slots.acquire(hook.backend, hook.most_running, self._ticket(hook)):
            self.progress.runs(since_s)
            await wait_for_rate_limit(hook.connection, self._budget, is_last=is_last)
            request = await self._request_for(hook)
            async with aclosing(hook.connection.stream(request)) as stream:
                async for item in stream:
                    received.is_any = True
                    if isinstance(item, Finished):
                        self.progress.finished(hook)
                        return item
                    if self.progress.take(hook, item):
                        return Finished(Finish.LENGTH)
        raise AssertionError("a stream ends with Finished or raises")

    def _ticket(self, hook: Hook) -> Ticket:
        return Ticket(self.client, self.priority, lambda position: self.progress.queued(position, hook.id))

    async def _request_for(self, hook: Hook) -> ChatRequest:
        """Return what a model is sent. Of what the one before it was sent nothing is held any more."""
        self.share.give_back(self._context_bytes)
        self._context_bytes = 0
        return await self.context.chat_for(hook, self._count_memory)

    def _count_memory(self, size: int) -> None:
        self.share.take(size)
        self._context_bytes += size


@dataclass(slots=True)
class _Received:
    """Whether anything of an answer came."""

    is_any: bool = False


class _BrokenError(Exception):
    """An answer broke off after its first content came."""

    def __init__(self, error: ModelError) -> None:
        super().__init__(error.message)
        self.error = error
