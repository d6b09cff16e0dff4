"""Work that goes on beside everything else, for as long as the daemon lives: tasks, and threads."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


def begin(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Start it, and keep the task. Nobody awaits its result: a defect that ends it is logged at once."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_tell)
    return task


def until_tick_s(period_s: float) -> float:
    """Return the seconds until the next multiple of a period on the monotonic clock.

    What a daemon at rest does again and again waits for it, so that one wake-up serves all of it.
    """
    left_s = period_s - time.monotonic() % period_s
    # A timer may fire a little before its time: that tick is over.
    return left_s if left_s > period_s / 10 else left_s + period_s


def _tell(task: asyncio.Task[T]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("%s has ended by a defect, and does not go on", task.get_name(), exc_info=error)


def thread_pool(count: int, name: str) -> ThreadPoolExecutor:
    """Return a pool of `count` threads, all of them started.

    A pool of the standard library starts a thread when work comes, on the event loop. Where the process
    has no memory at that moment, the new thread can die before it reports, and `Thread.start` then waits
    for it for ever (CPython 3.11): the loop would stand still.
    """
    pool = ThreadPoolExecutor(count, name)
    started = threading.Barrier(count + 1)
    for _ in range(count):
        pool.submit(started.wait)
    started.wait()
    return pool
