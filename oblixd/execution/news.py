"""Tells those who wait in a line which place they have, at a cost that does not grow with the line.

The first few hear of every change at once. The others are looked at a few times
a second while the line moves, some hundred at a time, and hear of their place when
it has changed by an eighth: somebody far behind learns that it goes on, without a
message for each step. A line that stands still, or is empty, costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Protocol

EXACT = 8
"""So many from the front hear of every change."""
PAUSE_S = 0.25
"""The others hear of their place at most so often."""
_COARSENESS = 8
_AT_ONCE = 200


class Listener(Protocol):
    """Somebody who waits."""

    told: int
    """The place that it heard last. 0: none yet."""

    @property
    def still_waits(self) -> bool:
        """Whether it has neither a place nor gone away."""

    def tell(self, place: int) -> None:
        """Hear of the place, from 1."""


class News:
    """The news of one line. `first` and `everybody` give those who wait, in order."""

    def __init__(
        self, first: Callable[[int], Iterable[Listener]], everybody: Callable[[], Iterable[Listener]]
    ) -> None:
        self._first = first
        self._everybody = everybody
        self._round: asyncio.TimerHandle | asyncio.Handle | None = None
        self._is_stale = False

    def changed(self, waiting: int) -> None:
        """Hear that somebody came, went on or left; so many wait now."""
        for place, listener in enumerate(self._first(EXACT + 1), 1):
            _tell(listener, place)
        self._is_stale = waiting > EXACT
        if self._is_stale and self._round is None:
            self._plan()
        elif not self._is_stale and self._round is not None:
            self._round.cancel()
            self._round = None

    def _plan(self) -> None:
        self._round = asyncio.get_running_loop().call_later(PAUSE_S, self._begin)

    def _begin(self) -> None:
        self._is_stale = False
        self._go_on(enumerate((one for one in self._everybody() if one.still_waits), 1))

    def _go_on(self, rest: Iterator[tuple[int, Listener]]) -> None:
        last = None
        for last in islice(rest, _AT_ONCE):
            _tell(last[1], last[0])
        if last is not None:
            self._round = asyncio.get_running_loop().call_soon(self._go_on, rest)
        elif self._is_stale:
            self._plan()
        else:
            self._round = None


def _tell(listener: Listener, place: int) -> None:
    moved, nearest = abs(place - listener.told), min(place, listener.told)
    if moved and (nearest <= EXACT or moved * _COARSENESS >= listener.told):
        listener.told = place
        listener.tell(place)
