"""The slots of a model: it runs so many prompts at once, the others wait for a slot.

Interactive prompts go before background ones, always: a background prompt waits
for as long as interactive ones keep all slots taken. Within each of the two,
`fair_queue` decides who is next.

`PositionNotifier` tells waiting prompts their position, at a cost that does not grow with the queue.
The first few hear of every change at once. The others are looked at a few times
a second while the queue moves, some hundred at a time, and hear of their position when
it has changed by an eighth: somebody far behind learns that it goes on, without a
message for each step. A queue that stands still, or is empty, costs nothing.
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

EXACT_POSITIONS = 8
"""So many from the front hear of every change."""
ROUND_INTERVAL_S = 0.25
"""The others hear of their position at most so often."""
_COARSENESS = 8
_BATCH = 200


class Listener(Protocol):
    """Somebody who waits."""

    last_position: int
    """The position that it heard last. 0: none yet."""

    @property
    def still_waits(self) -> bool:
        """Whether it has no slot yet and has not left."""

    def notify(self, position: int) -> None:
        """Take the new position, from 1."""


class PositionNotifier:
    """The positions in one queue. `first` and `everybody` return those who wait, in order."""

    def __init__(
        self, first: Callable[[int], Iterable[Listener]], everybody: Callable[[], Iterable[Listener]]
    ) -> None:
        self._first_listeners = first
        self._all_listeners = everybody
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._is_stale = False

    def update(self, waiting: int) -> None:
        """Send new positions after somebody came, got a slot or left; so many wait now."""
        if not waiting and self._timer is None:
            return
        for position, listener in enumerate(self._first_listeners(EXACT_POSITIONS + 1), 1):
            _notify(listener, position)
        self._is_stale = waiting > EXACT_POSITIONS
        if self._is_stale and self._timer is None:
            self._schedule()
        elif not self._is_stale and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(ROUND_INTERVAL_S, self._start_round)

    def _start_round(self) -> None:
        self._is_stale = False
        self._notify_batch(enumerate((one for one in self._all_listeners() if one.still_waits), 1))

    def _notify_batch(self, rest: Iterator[tuple[int, Listener]]) -> None:
        last = None
        for last in islice(rest, _BATCH):
            _notify(last[1], last[0])
        if last is not None:
            self._timer = asyncio.get_running_loop().call_soon(self._notify_batch, rest)
        elif self._is_stale:
            self._schedule()
        else:
            self._timer = None


def _notify(listener: Listener, position: int) -> None:
    moved, nearest = abs(position - listener.last_position), min(position, listener.last_position)
    if moved and (nearest <= EXACT_POSITIONS or moved * _COARSENESS >= listener.last_position):
        listener.last_position = position
        listener.notify(position)


QUEUE_LENGTH = 512
"""So many may wait for one model where nobody says otherwise."""

_arrivals = itertools.count()


class Priority(enum.IntEnum):
    """Who goes first."""

    INTERACTIVE = executions_pb2.PRIORITY_INTERACTIVE
    BACKGROUND = executions_pb2.PRIORITY_BACKGROUND


@dataclass(frozen=True, slots=True)
class Ticket:
    """Who wants a slot."""

    client: str
    """Fairness goes by it."""
    priority: Priority
    on_position: Callable[[int], None]
    """Called with the position in the queue, from 1, and with its changes as `PositionNotifier` sends them.
    Raises nothing."""


@dataclass(slots=True, eq=False)
class _Waiter:
    ticket: Ticket
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    arrival: int = field(default_factory=_arrivals.__next__)
    still_waits: bool = True
    last_position: int = 0

    @property
    def client(self) -> str:
        return self.ticket.client

    def notify(self, position: int) -> None:
        self.ticket.on_position(position)

    def grant(self) -> None:
        self.still_waits = False
        # Who is cancelled in this moment leaves by itself, and returns the slot.
        if not self.turn.done():
            self.turn.set_result(None)


class Load(NamedTuple):
    """How many prompts a model has."""

    running_count: int
    """Taken slots."""
    waiting_count: int
    is_full: bool
    """Whether the next one would be refused, by the limit that was given last."""


_IDLE = Load(0, 0, is_full=False)


class _Model:
    """One model's slots, and those who wait for them."""

    def __init__(self) -> None:
        self.limit: int | None = None
        self.running_count = 0
        self._queues = {priority: FairQueue[_Waiter]() for priority in Priority}
        self._notifier = PositionNotifier(self._first_waiters, self._all_waiters)

    @property
    def waiting_count(self) -> int:
        return sum(map(len, self._queues.values()))

    @property
    def has_free_slot(self) -> bool:
        return self.limit is None or self.running_count < self.limit

    def join(self, waiter: _Waiter) -> None:
        self._queue_of(waiter).join(waiter)
        self._grant_slots()

    def leave(self, waiter: _Waiter) -> None:
        """Return the slot, or stop waiting for one."""
        if waiter.still_waits:
            waiter.still_waits = False
            self._queue_of(waiter).leave(waiter)
        else:
            self.running_count -= 1
            self._queue_of(waiter).release(waiter)
        self._grant_slots()

    def _grant_slots(self) -> None:
        """Let those who go next have what is free, and tell the others where they are."""
        while self.has_free_slot and (queue := next(filter(len, self._queues.values()), None)):
            self.running_count += 1
            queue.pop().grant()
        self._notifier.update(self.waiting_count)

    def _queue_of(self, waiter: _Waiter) -> FairQueue[_Waiter]:
        return self._queues[waiter.ticket.priority]

    def _first_waiters(self, count: int) -> Iterator[_Waiter]:
        return itertools.islice(
            itertools.chain(*(queue.peek(count) for queue in self._queues.values())), count
        )

    def _all_waiters(self) -> Iterator[_Waiter]:
        return itertools.chain(*(queue.all_items() for queue in self._queues.values()))


class Slot:
    """One slot at a model: `async with` waits for it, and holds it until the block ends."""

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

    def acquire(self, key: str, limit: int | None, ticket: Ticket) -> Slot:
        """Return a slot to wait for and to hold: use it as `async with`.

        `limit` is how many the model takes at once, as is known now; None: as
        many as come. It counts for those who wait already, too.
        Raises ModelError QUEUE_FULL where nobody more may wait. Whoever is
        cancelled leaves the queue without a trace.
        """
        return Slot(self, key, limit, ticket)

    def join(self, key: str, limit: int | None, waiter: _Waiter) -> None:
        """Wait for a slot. Raises as `acquire` says."""
        model = self._models.setdefault(key, _Model())
        model.limit = limit
        if self._is_full(model):
            raise self._full_error(model.waiting_count)
        model.join(waiter)

    def leave(self, key: str, waiter: _Waiter) -> None:
        """Return the slot, or stop waiting for one."""
        model = self._models[key]
        model.leave(waiter)
        if not model.running_count and not model.waiting_count:
            del self._models[key]

    def load(self, key: str) -> Load:
        """Return how many prompts a model has."""
        model = self._models.get(key)
        if model is None:
            return _IDLE
        return Load(model.running_count, model.waiting_count, self._is_full(model))

    def _is_full(self, model: _Model) -> bool:
        return not model.has_free_slot and model.waiting_count >= self._queue_length

    @staticmethod
    def _full_error(length: int) -> ModelError:
        message = (
            f"{length} prompts wait for this model already, and no more may. "
            "Wait a moment, use another model, or raise execution.queue_length in the configuration."
        )
        return ModelError(ModelErrorKind.QUEUE_FULL, message, numbers={"length": length})
