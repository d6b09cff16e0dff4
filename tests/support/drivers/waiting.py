"""Waiting for what nobody announces."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

WAIT_S = 60.0
PAUSE_S = 0.01


async def eventually(condition: Callable[[], bool]) -> None:
    """Return once the condition holds; fail where it does not within the timeouts."""
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until, "it never came to that"
        await asyncio.sleep(PAUSE_S)


def wait_until(condition: Callable[[], bool]) -> None:
    """Do the same without asyncio."""
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(PAUSE_S)
