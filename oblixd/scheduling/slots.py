"""Places at a model: it takes so many prompts at once, the others wait for one.

Interactive prompts go before background ones, always: a background prompt waits
for as long as interactive ones keep all slots taken. Within each of the two,
`fairness` says who goes next; `news` tells everybody how far they are.

Tells those who wait in a line which place they have, at a cost that does not grow with the line.

The first few hear of every change at once. The others are looked at a few times
a second while the line moves, some hundred at a time, and hear of their place when
it has changed by an eighth: somebody far behind learns that it goes on, without a
message for each step. A line that stands still, or is empty, costs nothing.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import NamedTuple, Protocol

from oblix.v1 import executions_pb2

from oblixd.models import ModelError, ModelErrorKind
from oblixd.scheduling.fair_queue import FairQueue

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


class PositionNotifier:
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
        if not waiting and self._round is None:
            return
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


QUEUE_LENGTH = 512
"""So many may wait for one model where nobody says otherwise."""

_arrivals = itertools.count()


class Priority(enum.IntEnum):
    """Who goes first."""

    INTERACTIVE = executions_pb2.PRIORITY_INTERACTIVE
    BACKGROUND = executions_pb2.PRIORITY_BACKGROUND


@dataclass(frozen=True, slots=True)
class Ticket:
    """Who wants a place."""

    client: str
    """Fairness goes by it."""
    priority: Priority
    on_place: Callable[[int], None]
    """Hears the place in the line, from 1, where it waits; of its changes as `news` says. Raises nothing."""


@dataclass(slots=True, eq=False)
class _Waiter:
    ticket: Ticket
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    arrival: int = field(default_factory=_arrivals.__next__)
    still_waits: bool = True
    told: int = 0

    @property
    def client(self) -> str:
        return self.ticket.client

    def tell(self, place: int) -> None:
        self.ticket.on_place(place)

    def go(self) -> None:
        self.still_waits = False
        # Who is cancelled in this moment leaves by itself, and gives the place back.
        if not self.turn.done():
            self.turn.set_result(None)


class Load(NamedTuple):
    """How many prompts a model has."""

    running: int
    """Taken slots."""
    waiting: int
    is_full: bool
    """Whether the next one would be refused, by the limit that was given last."""


_IDLE = Load(0, 0, is_full=False)


class _Model:
    """One model's slots, and those who wait for them."""

    def __init__(self) -> None:
        self.limit: int | None = None
        self.running = 0
        self._lines = {priority: FairQueue[_Waiter]() for priority in Priority}
        self._notifier = PositionNotifier(self._first_waiters, self._everybody)

    @property
    def waiting_count(self) -> int:
        return sum(map(len, self._lines.values()))

    @property
    def has_place(self) -> bool:
        return self.limit is None or self.running < self.limit

    def join(self, waiter: _Waiter) -> None:
        self._line_of(waiter).join(waiter)
        self._hand_out()

    def leave(self, waiter: _Waiter) -> None:
        """Give the place back, or wait for it no longer."""
        if waiter.still_waits:
            waiter.still_waits = False
            self._line_of(waiter).leave(waiter)
        else:
            self.running -= 1
            self._line_of(waiter).done(waiter)
        self._hand_out()

    def _hand_out(self) -> None:
        """Let those who go next have what is free, and tell the others where they are."""
        while self.has_place and (line := next(filter(len, self._lines.values()), None)):
            self.running += 1
            line.pop().go()
        self._notifier.changed(self.waiting_count)

    def _line_of(self, waiter: _Waiter) -> FairQueue[_Waiter]:
        return self._lines[waiter.ticket.priority]

    def _first_waiters(self, count: int) -> Iterator[_Waiter]:
        return itertools.islice(itertools.chain(*(line.peek(count) for line in self._lines.values())), count)

    def _everybody(self) -> Iterator[_Waiter]:
        return itertools.chain(*(line.everybody() for line in self._lines.values()))


class Place:
    """One place at a model: waited for, then held, for as long as the block lasts."""

    __slots__ = ("_key", "_limit", "_slots", "_ticket", "_waiter")

    def __init__(self, slots: ModelSlots, key: str, limit: int | None, ticket: Ticket) -> None:
        self._slots = slots
        self._key = key
        self._limit = limit
        self._ticket = ticket
        self._waiter: _Waiter

    async def __aenter__(self) -> None:
        self._waiter = _Waiter(self._ticket)
        self._slots.join(self._key, self._limit, self._waiter)
        try:
            await self._waiter.turn
        except BaseException:
            self._slots.leave(self._key, self._waiter)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slots.leave(self._key, self._waiter)


class ModelSlots:
    """The slots of all models, by the key of a hook. Belongs to one event loop."""

    def limit_queue(self, length: int) -> None:
        """Let so many prompts wait from now on. Those that wait already stay."""
        self._queue_length = length

    def __init__(self, queue_length: int = QUEUE_LENGTH) -> None:
        self._queue_length = queue_length
        self._models: dict[str, _Model] = {}

    def place(self, key: str, limit: int | None, ticket: Ticket) -> Place:
        """Return a place to wait for and to hold: use it as `async with`.

        `limit` is how many the model takes at once, as is known now; None: as
        many as come. It counts for those who wait already, too.
        Raises ModelError QUEUE_FULL where nobody more may wait. Whoever is
        cancelled leaves the line without a trace.
        """
        return Place(self, key, limit, ticket)

    def join(self, key: str, limit: int | None, waiter: _Waiter) -> None:
        """Wait for a place. Raises as `place` says."""
        model = self._models.setdefault(key, _Model())
        model.limit = limit
        if self._is_full(model):
            raise self._full_error(model.waiting_count)
        model.join(waiter)

    def leave(self, key: str, waiter: _Waiter) -> None:
        """Give the place back, or wait for it no longer."""
        model = self._models[key]
        model.leave(waiter)
        if not model.running and not model.waiting_count:
            del self._models[key]

    def load(self, key: str) -> Load:
        """Return how many prompts a model has."""
        model = self._models.get(key)
        if model is None:
            return _IDLE
        return Load(model.running, model.waiting_count, self._is_full(model))

    def _is_full(self, model: _Model) -> bool:
        return not model.has_place and model.waiting_count >= self._queue_length

    @staticmethod
    def _full_error(length: int) -> ModelError:
        message = (
            f"{length} prompts wait for this model already, and no more may. "
            "Wait a moment, use another model, or raise execution.queue_length in the configuration."
        )
        return ModelError(ModelErrorKind.QUEUE_FULL, message, numbers={"length": length})
