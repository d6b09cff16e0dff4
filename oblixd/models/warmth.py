"""Keeps a connection open while nobody asks, so that the next prompt does not wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from oblixd import background
from oblixd.models.base import ModelError

FIRST_PAUSE_S = 1.0
"""How long after a drop the connection is opened again."""
LONGEST_PAUSE_S = 60.0
"""What the pause grows to, by doubling, while connections fail or do not last."""
SETTLED_S = 20.0
"""A connection that lasted so long was worth opening."""


class Warmth:
    """A task that waits for a connection to close, and opens the next one. It never polls."""

    def __init__(self, open_one: Callable[[], Awaitable[asyncio.Future[None]]]) -> None:
        self._open_one = open_one
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    def keep(self) -> None:
        """Open a connection where none is, now, and from here on."""
        self._hurry.set()
        if self._task is None:
            self._task = background.begin(self._keep(), "keeping a connection warm")

    async def stop(self) -> None:
        """Open none any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _keep(self) -> None:
        pause_s = FIRST_PAUSE_S / 2
        while True:
            self._hurry.clear()
            lasted_s = await self._one()
            pause_s = next_pause_s(pause_s, lasted_s)
            if await self._hurried(pause_s):
                pause_s = FIRST_PAUSE_S

    async def _one(self) -> float:
        """Open a connection and wait until it is closed. Gives how many seconds that took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await (await self._open_one())
        except ModelError:
            # It was reported as an exchange that failed. The next prompt tells who asks.
            return 0.0
        return loop.time() - began

    async def _hurried(self, pause_s: float) -> bool:
        try:
            async with asyncio.timeout(pause_s):
                return await self._hurry.wait()
        except TimeoutError:
            return False


def next_pause_s(last_s: float, lasted_s: float) -> float:
    """Reckon the pause after a connection that lasted so long, from the pause before it."""
    return FIRST_PAUSE_S if lasted_s >= SETTLED_S else min(2 * last_s, LONGEST_PAUSE_S)
