"""How long one answer is waited for."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from oblixd.models.http.server import Server, Timeouts

_SHORTEST_S = 0.001
T = TypeVar("T")


class Wait:
    """The clocks of one request: of silence, and of what is no content.

    They run only while something is waited for. A server on this machine that says nothing and works
    is waited for on.
    """

    def __init__(self, server: Server, timeouts: Timeouts, origin: str) -> None:
        self.begun = False
        """Content came."""
        self.limit_s = timeouts.first_s
        """The limit that ran out last, for a person."""
        self.connect_s = timeouts.connect_s
        self._works = server.works if timeouts is server.timeouts else None
        self._origin = origin
        self._timeouts = timeouts
        self._silence_s = timeouts.first_s
        self._content_s = timeouts.first_token_s or timeouts.content_s or math.inf
        self._in_a_hurry = False

    def content(self) -> None:
        """Content came: both clocks begin anew."""
        self.begun = True
        if not self._in_a_hurry:
            self._silence_s = self._timeouts.stall_s
            self._content_s = self._timeouts.content_s or math.inf

    def hurry(self, seconds: float) -> None:
        """Wait no longer than this for all that is left."""
        self._in_a_hurry = True
        self._silence_s = min(self._silence_s, seconds)
        self._content_s = min(self._content_s, seconds)

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[None]:
        """Wait for a sign of life within the block. Raises TimeoutError."""
        began = time.monotonic()
        is_late = True
        try:
            async with asyncio.timeout(max(_SHORTEST_S, min(self._silence_s, self._content_s))):
                yield
            is_late = False
        finally:
            waited_s = time.monotonic() - began
            self._content_s -= waited_s
            self._silence_s = (
                self._full_s if not is_late and not self._in_a_hurry else self._silence_s - waited_s
            )

    async def for_the_head(self, head: Awaitable[T]) -> T:
        """Wait for the head of the answer. Raises TimeoutError, and what the awaitable raises."""
        if self._works is None:
            try:
                async with self.limit():
                    return await head
            except TimeoutError:
                await self.goes_on()
                raise
        task = asyncio.ensure_future(head)
        try:
            while True:
                try:
                    async with self.limit():
                        return await asyncio.shield(task)
                except TimeoutError:
                    if task.done() or not await self.goes_on():
                        raise
        finally:
            task.cancel()

    async def goes_on(self) -> bool:
        """After a TimeoutError: whether to wait on, because the server's process works."""
        is_silent = self._silence_s <= self._content_s
        if is_silent and not self._in_a_hurry and self._works is not None and await self._works(self._origin):
            self._silence_s = self._full_s
            return True
        self.limit_s = self._full_s if is_silent else self._longest_s
        return False

    @property
    def _full_s(self) -> float:
        return self._timeouts.stall_s if self.begun else self._timeouts.first_s

    @property
    def _longest_s(self) -> float:
        first = None if self.begun else self._timeouts.first_token_s
        return first or self._timeouts.content_s or math.inf
