"""Turns of one session queue, in order of arrival; turns of different sessions do not wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from oblixd.errors import AbortedError
from oblixd.scheduling.cancel_scope import CancelScope

OnPlace = Callable[[int], None]


@dataclass(slots=True, eq=False)
class _Waiter:
    turn: asyncio.Future[None]
    on_place: OnPlace


class TurnQueue:
    """One line for each session that has a turn running."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[_Waiter]] = {}

    @asynccontextmanager
    async def turn(
        self, session_id: str, scope: CancelScope, on_place: OnPlace, *, waits: bool = True
    ) -> AsyncGenerator[None, None]:
        """Wait for the session's turn and hold it.

        `on_place` hears how many turns come before this one, whenever that changes.
        Raises Stopped where the scope is stopped while it waits, and AbortedError
        SESSION_BUSY where it would have to wait and `waits` says that it does not.
        """
        if not waits and session_id in self._lines:
            raise _busy(session_id, len(self._lines[session_id]))
        waiter = _Waiter(asyncio.get_running_loop().create_future(), on_place)
        line = self._lines.setdefault(session_id, deque())
        line.append(waiter)
        try:
            with scope:
                if len(line) > 1:
                    on_place(len(line) - 1)
                    await waiter.turn
            yield
        finally:
            self._leave(session_id, waiter)

    def _leave(self, session_id: str, waiter: _Waiter) -> None:
        line = self._lines[session_id]
        place = line.index(waiter)
        line.remove(waiter)
        if not line:
            del self._lines[session_id]
            return
        if place == 0 and not line[0].turn.done():
            line[0].turn.set_result(None)
        for later in range(max(place, 1), len(line)):
            line[later].on_place(later)


def _busy(session_id: str, turns: int) -> AbortedError:
    message = (
        f"Session {session_id} has {turns} turns running or waiting, and the request does not wait: "
        "send it again later, or with when_busy WHEN_BUSY_WAIT."
    )
    return AbortedError("SESSION_BUSY", message, session_id=session_id, turns=turns)
