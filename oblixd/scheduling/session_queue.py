"""Turns of one session queue, in order of arrival; turns of different sessions do not wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from oblixd.errors import AbortedError
from oblixd.scheduling.cancel_scope import CancelScope

OnPosition = Callable[[int], None]


@dataclass(slots=True, eq=False)
class _Waiter:
    turn: asyncio.Future[None]
    on_position: OnPosition


class TurnQueue:
    """One queue for each session that has a turn running."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[_Waiter]] = {}

    @asynccontextmanager
    async def turn(
        self, session_id: str, scope: CancelScope, on_position: OnPosition, *, waits: bool = True
    ) -> AsyncGenerator[None, None]:
        """Wait for the session's turn and hold it.

        `on_position` hears how many turns come before this one, whenever that changes.
        Raises Stopped where the scope is stopped while it waits, and AbortedError
        SESSION_BUSY where it would have to wait and `waits` says that it does not.
        """
        if not waits and session_id in self._queues:
            raise _busy(session_id, len(self._queues[session_id]))
        waiter = _Waiter(asyncio.get_running_loop().create_future(), on_position)
        queue = self._queues.setdefault(session_id, deque())
        queue.append(waiter)
        try:
            with scope:
                if len(queue) > 1:
                    on_position(len(queue) - 1)
                    await waiter.turn
            yield
        finally:
            self._leave(session_id, waiter)

    def _leave(self, session_id: str, waiter: _Waiter) -> None:
        queue = self._queues[session_id]
        position = queue.index(waiter)
        queue.remove(waiter)
        if not queue:
            del self._queues[session_id]
            return
        if position == 0 and not queue[0].turn.done():
            queue[0].turn.set_result(None)
        for index in range(max(position, 1), len(queue)):
            queue[index].on_position(index)


def _busy(session_id: str, turns: int) -> AbortedError:
    message = (
        f"Session {session_id} has {turns} turns running or waiting, and the request does not wait: "
        "send it again later, or with when_busy WHEN_BUSY_WAIT."
    )
    return AbortedError("SESSION_BUSY", message, session_id=session_id, turns=turns)
