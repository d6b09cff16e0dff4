"""Who goes next where many clients wait: fair by client, then by arrival.

Start-time fair queueing (Goyal, Vin and Cheng, "Start-Time Fair Queueing: A
Scheduling Algorithm for Integrated Services Packet Switching Networks", SIGCOMM
1996), with a place as the unit of work and equal weights. Each client has a tag:
the virtual time at which its next one may start, one later than its last. The
smallest tag goes first. So of two clients that both wait, none gets more than
two slots ahead of the other, however many prompts it brought, and who just came
goes before the second prompt of all who were there.

The virtual time is the tag of who went last, as in the paper, and besides moves
on by a share of each place that is given: else clients that come once, one after
another without end, would keep the second prompt of a client waiting for ever.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, Protocol, TypeVar


class Waits(Protocol):
    """What waits in a line."""

    @property
    def client(self) -> str:
        """Whose it is."""

    @property
    def arrival(self) -> int:
        """Unique in its line; a later one is greater."""


W = TypeVar("W", bound=Waits)


@dataclass(slots=True)
class _Client(Generic[W]):
    tag: float
    """The virtual time at which its next one may start."""
    served: int = 0
    """How many of its own hold a place."""
    waiting: OrderedDict[int, W] = field(default_factory=OrderedDict)
    """By arrival."""

    @property
    def head(self) -> W:
        return next(iter(self.waiting.values()))


_Entry = tuple[float, int, str]
"""A client that waits: its tag, the arrival of its first, its name."""


class FairQueue(Generic[W]):
    """A line of those who wait. Whatever happens to it costs no more at 10,000 than at ten.

    The entries are a sorted list: one is found by bisection, and what moves in memory is 8 bytes
    a client.
    """

    def __init__(self) -> None:
        self._clients: dict[str, _Client[W]] = {}
        self._entries: list[_Entry] = []
        self._now = 0.0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def join(self, one: W) -> None:
        """Go to the end of its client's own line."""
        client = self._clients.get(one.client)
        if client is None:
            client = self._clients[one.client] = _Client(self._now)
        if not client.waiting:
            client.tag = max(client.tag, self._now)
            insort(self._entries, (client.tag, one.arrival, one.client))
        client.waiting[one.arrival] = one
        self._count += 1

    def leave(self, one: W) -> None:
        """Go away without having had a place; no trace is left."""
        client = self._clients[one.client]
        self._drop_entry(client)
        self._take_out(client, one)
        self._add_entry(client)
        self._forget(one.client)

    def pop(self) -> W:
        """Take out who goes next; it holds a place until `done`. There must be one."""
        tag, _, name = self._entries.pop(0)
        client = self._clients[name]
        one = client.head
        self._take_out(client, one)
        self._now = max(self._now + 1 / (len(self._entries) + 2), tag)
        client.tag = tag + 1
        client.served += 1
        self._add_entry(client)
        return one

    def done(self, one: W) -> None:
        """Give the place back."""
        self._clients[one.client].served -= 1
        self._forget(one.client)

    def peek(self, count: int) -> Iterator[W]:
        """Yield the first `count` in the order of now. Use it up before the queue changes."""
        return self._in_order(self._entries[:count], count)

    def everybody(self) -> Iterator[W]:
        """Yield all in the order in which they would go now; the queue may change meanwhile."""
        return self._in_order(self._entries.copy(), self._count)

    def _in_order(self, heap: list[_Entry], count: int) -> Iterator[W]:
        """Merge the clients' own lines. `heap` is sorted, and so a heap; it is used up."""
        lines: dict[str, deque[W]] = {}
        while heap and count:
            tag, _, name = heap[0]
            if name not in lines:
                lines[name] = deque(self._line_of(name, count))
            if lines[name]:
                yield lines[name].popleft()
                count -= 1
            if lines[name]:
                heapq.heapreplace(heap, (tag + 1, lines[name][0].arrival, name))
            else:
                heapq.heappop(heap)

    def _line_of(self, name: str, count: int) -> Iterator[W]:
        client = self._clients.get(name)
        return islice(client.waiting.values(), count) if client else iter(())

    def _add_entry(self, client: _Client[W]) -> None:
        if client.waiting:
            insort(self._entries, (client.tag, client.head.arrival, client.head.client))

    def _drop_entry(self, client: _Client[W]) -> None:
        entry = (client.tag, client.head.arrival, client.head.client)
        del self._entries[bisect_left(self._entries, entry)]

    def _take_out(self, client: _Client[W], one: W) -> None:
        del client.waiting[one.arrival]
        self._count -= 1

    def _forget(self, name: str) -> None:
        client = self._clients[name]
        if not client.waiting and not client.served:
            del self._clients[name]
