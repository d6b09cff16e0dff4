"""How long one answer is waited for."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable
from typing import TypeVar, cast

from oblixd.models.http.server import Server, Timeouts, Works

logger = logging.getLogger(__name__)

_SHORTEST_S = 0.001
T = TypeVar("T")


class Wait:
    """The clocks of one request: of silence, and of what is no content.

    They run only while something is waited for. A server on this machine that says nothing and works
    is waited for on.

    One timer serves all waits of a request: it looks whether the one of that moment is over, and is set anew
    where it is not. Most answers come before it looks at all.
    """

    def __init__(self, server: Server, timeouts: Timeouts, origin: str) -> None:
        self.has_begun = False
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
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        """What waits now."""
        self._since_s = 0.0
        """When it began to."""
        self._is_late = False
        self._timer: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None

    def content(self) -> None:
        """Content came: both clocks begin anew."""
        self.has_begun = True
        if not self._in_a_hurry:
            self._silence_s = self._timeouts.stall_s
            self._content_s = self._timeouts.content_s or math.inf

    def hurry(self, seconds: float) -> None:
        """Wait no longer than this for all that is left."""
        self._in_a_hurry = True
        self._silence_s = min(self._silence_s, seconds)
        self._content_s = min(self._content_s, seconds)

    async def until(self, sign: Awaitable[T]) -> T:
        """Await a sign of life. Raises TimeoutError, and what the awaitable raises."""
        task = self._begin()
        cancelled = task.cancelling()
        try:
            result = await sign
        except BaseException as error:
            is_ours = self._is_late and task.uncancel() <= cancelled
            if is_ours and isinstance(error, asyncio.CancelledError):
                raise TimeoutError from None
            raise
        finally:
            self._end()
        if not self._in_a_hurry:
            self._silence_s = self._full_s
        return result

    def close(self) -> None:
        """Wait for nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self) -> asyncio.Task[object]:
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self._task, self._since_s, self._is_late = task, self._loop.time(), False
        # The next waits of this request are likely to be as short as after content.
        self._look_at(self._since_s + min(self._left_s, self._timeouts.stall_s))
        return task

    def _end(self) -> None:
        waited_s = self._loop.time() - self._since_s
        self._silence_s -= waited_s
        self._content_s -= waited_s
        self._task = None
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    @property
    def _left_s(self) -> float:
        """Seconds of the wait that has just begun."""
        return max(_SHORTEST_S, min(self._silence_s, self._content_s))

    def _look_at(self, moment_s: float) -> None:
        """Have the timer look at this moment of the loop's clock, or before."""
        if self._timer is not None:
            if self._timer.when() <= moment_s:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(moment_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._task is None:
            return
        due_s = self._since_s + self._left_s
        if self._loop.time() < due_s:
            self._look_at(due_s)
        elif self._works is not None and self._is_silent and not self._in_a_hurry:
            self._asking = self._loop.create_task(self._ask(self._works, self._task))
        else:
            self._give_up(self._task)

    @property
    def _is_silent(self) -> bool:
        """Whether silence is what takes too long, not the want of content."""
        return self._silence_s <= self._content_s

    async def _ask(self, works: Works, task: asyncio.Task[object]) -> None:
        """Ask whether the server's process works: then it is waited for on."""
        try:
            is_working = await works(self._origin)
        except Exception:
            # Nobody hears of it here, and the timer is not set: the wait would have no end.
            logger.exception("it can't be told whether the server at %s works", self._origin)
            is_working = False
        self._asking = None
        if not is_working:
            self._give_up(task)
            return
        now_s = self._loop.time()
        self._content_s -= now_s - self._since_s
        self._silence_s, self._since_s = self._full_s, now_s
        self._look_at(now_s + self._left_s)

    def _give_up(self, task: asyncio.Task[object]) -> None:
        self.limit_s = self._full_s if self._is_silent else self._longest_s
        self._is_late = True
        task.cancel()

    @property
    def _full_s(self) -> float:
        return self._timeouts.stall_s if self.has_begun else self._timeouts.first_s

    @property
    def _longest_s(self) -> float:
        first = None if self.has_begun else self._timeouts.first_token_s
        return first or self._timeouts.content_s or math.inf
