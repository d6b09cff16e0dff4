"""Why a daemon ends by itself: nobody uses it, or nobody can reach it any more."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

LOOK_S = 1.0
"""How often the socket is looked for."""


async def until_idle(
    idle_exit_s: float, last_call_s: Callable[[], float], is_used: Callable[[], bool]
) -> None:
    """Return once nobody called for so long and nothing runs. `last_call_s` is on the monotonic clock."""
    idle_s = 0.0
    while idle_s < idle_exit_s:
        await asyncio.sleep(idle_exit_s - idle_s)
        idle_s = 0.0 if is_used() else time.monotonic() - last_call_s()


async def until_deaf(socket: Path) -> None:
    """Return once the socket that we listen on is gone, or is another one.

    Somebody who cleans up, or removes the directory, makes a daemon deaf: it would
    hold the lock for ever, and no client could reach it or start another.
    """
    ours = _identity(socket)
    while _identity(socket) == ours:  # noqa: ASYNC110 - nothing announces that a file was removed
        await asyncio.sleep(LOOK_S)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - one system call a second, for as long as the daemon lives
    except OSError:
        return None
    return found.st_dev, found.st_ino
