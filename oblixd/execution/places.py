"""Places at a model: it takes so many prompts at once, the others wait for one.

Interactive prompts go before background ones, always: a background prompt waits
for as long as interactive ones keep all places taken. Within each of the two,
`fairness` says who goes next; `news` tells everybody how far they are.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from oblix.v1 import executions_pb2 as pb

from oblixd.execution.fairness import FairLine
from oblixd.execution.news import News
from oblixd.models.base import ModelError, ModelErrorKind

QUEUE_LENGTH = 512
"""So many may wait for one model where nobody says otherwise."""

_arrivals = itertools.count()


class Priority(enum.IntEnum):
    """Who goes first."""

    INTERACTIVE = pb.PRIORITY_INTERACTIVE
    BACKGROUND = pb.PRIORITY_BACKGROUND


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


class _Model:
    """One model's places, and those who wait for them."""

    def __init__(self) -> None:
        self.limit: int | None = None
        self.running = 0
        self._lines = {priority: FairLine[_Waiter]() for priority in Priority}
        self._news = News(self._first, self._everybody)

    @property
    def waiting(self) -> int:
        return sum(len(line) for line in self._lines.values())

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
            line.next().go()
        self._news.changed(self.waiting)

    def _line_of(self, waiter: _Waiter) -> FairLine[_Waiter]:
        return self._lines[waiter.ticket.priority]

    def _first(self, count: int) -> Iterator[_Waiter]:
        return itertools.islice(itertools.chain(*(line.first(count) for line in self._lines.values())), count)

    def _everybody(self) -> Iterator[_Waiter]:
        return itertools.chain(*(line.everybody() for line in self._lines.values()))


class Places:
    """The places of all models, by the key of a hook. Belongs to one event loop."""

    def __init__(self, queue_length: int = QUEUE_LENGTH) -> None:
        self._queue_length = queue_length
        self._models: dict[str, _Model] = {}

    @asynccontextmanager
    async def place(self, key: str, limit: int | None, ticket: Ticket) -> AsyncGenerator[None, None]:
        """Wait for a place and hold it.

        `limit` is how many the model takes at once, as is known now; None: as
        many as come. It counts for those who wait already, too.
        Raises ModelError QUEUE_FULL where nobody more may wait. Whoever is
        cancelled leaves the line without a trace.
        """
        model = self._models.setdefault(key, _Model())
        model.limit = limit
        if self.is_full(key):
            raise self._full(model.waiting)
        waiter = _Waiter(ticket)
        model.join(waiter)
        try:
            await waiter.turn
            yield
        finally:
            model.leave(waiter)
            if not model.running and not model.waiting:
                self._models.pop(key)

    def waiting(self, key: str) -> int:
        """How many wait for a model."""
        return self._models[key].waiting if key in self._models else 0

    def running(self, key: str) -> int:
        """How many places of a model are taken."""
        return self._models[key].running if key in self._models else 0

    def is_full(self, key: str) -> bool:
        """Whether the next one would be refused, by the limit that was given last."""
        model = self._models.get(key)
        return model is not None and not model.has_place and model.waiting >= self._queue_length

    @staticmethod
    def _full(length: int) -> ModelError:
        message = (
            f"{length} prompts wait for this model already, and no more may. "
            "Wait a moment, use another model, or raise execution.queue_length in the configuration."
        )
        return ModelError(ModelErrorKind.QUEUE_FULL, message, numbers={"length": length})
