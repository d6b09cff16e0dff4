"""Decide who is next when many clients wait: fair by client, then by arrival.

Start-time fair queueing (Goyal, Vin and Cheng, "Start-Time Fair Queueing: A
Scheduling Algorithm for Integrated Services Packet Switching Networks", SIGCOMM
1996), with a slot as the unit of work and equal weights. Each client has a tag:
the virtual time at which its next one may start, one later than its last. The
smallest tag goes first. So of two clients that both wait, none gets more than
two slots ahead of the other, however many prompts it brought, and who just came
goes before the second prompt of all who were there.

The virtual time is the tag of who went last, as in the paper, and besides moves
on by a share of each slot that is given: else clients that come once, one after
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


class QueueItem(Protocol):
    """What waits in a queue."""

    @property
    def client(self) -> str:
        """Whose it is."""

    @property
    def arrival(self) -> int:
        """Unique in its queue; a later one is greater."""


W = TypeVar("W", bound=QueueItem)


@dataclass(slots=True)
class _Client(Generic[W]):
    tag: float
    """The virtual time at which its next one may start."""
    slots_held: int = 0
    """Slots that its items hold."""
    queue: OrderedDict[int, W] = field(default_factory=OrderedDict)
    """By arrival."""

    @property
    def head(self) -> W:
        return next(iter(self.queue.values()))


_Entry = tuple[float, int, str]
"""A client that waits: its tag, the arrival of its first, its name."""


class FairQueue(Generic[W]):
    """A queue of waiting items. Each operation costs no more at 10,000 than at ten.

    The entries are a sorted list: one is found by bisection, and what moves in memory is 8 bytes
    a client.
    """

    def __init__(self) -> None:
        self._clients: dict[str, _Client[W]] = {}
        self._entries: list[_Entry] = []
        self._virtual_time = 0.0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def join(self, item: W) -> None:
        """Append an item to its client's own queue."""
        client = self._clients.get(item.client)
        if client is None:
            client = self._clients[item.client] = _Client(self._virtual_time)
        if not client.queue:
            client.tag = max(client.tag, self._virtual_time)
            insort(self._entries, (client.tag, item.arrival, item.client))
        client.queue[item.arrival] = item
        self._count += 1

    def leave(self, item: W) -> None:
        """Remove an item that had no slot; no trace is left."""
        client = self._clients[item.client]
        self._drop_entry(client)
        self._remove(client, item)
        self._add_entry(client)
        self._drop_idle_client(item.client)

    def pop(self) -> W:
        """Remove and return the next item; it holds a slot until `release`. There must be one."""
        tag, _, name = self._entries.pop(0)
        client = self._clients[name]
        item = client.head
        self._remove(client, item)
        self._virtual_time = max(self._virtual_time + 1 / (len(self._entries) + 2), tag)
        client.tag = tag + 1
        client.slots_held += 1
        self._add_entry(client)
        return item

    def release(self, item: W) -> None:
        """Return the slot that an item holds."""
        self._clients[item.client].slots_held -= 1
        self._drop_idle_client(item.client)

    def peek(self, count: int) -> Iterator[W]:
        """Yield the first `count` in the order of now. Use it up before the queue changes."""
        return self._in_order(self._entries[:count], count)

    def all_items(self) -> Iterator[W]:
        """Yield all in the order in which they would go now; the queue may change meanwhile."""
        return self._in_order(self._entries.copy(), self._count)

    def _in_order(self, heap: list[_Entry], count: int) -> Iterator[W]:
        """Merge the clients' own queues. `heap` is sorted, and so a heap; it is used up."""
        queues: dict[str, deque[W]] = {}
        while heap and count:
            tag, _, name = heap[0]
            if name not in queues:
                queues[name] = deque(self._queue_of(name, count))
            if queues[name]:
                yield queues[name].popleft()
                count -= 1
            if queues[name]:
                heapq.heapreplace(heap, (tag + 1, queues[name][0].arrival, name))
            else:
                heapq.heappop(heap)

    def _queue_of(self, name: str, count: int) -> Iterator[W]:
        client = self._clients.get(name)
        return islice(client.queue.values(), count) if client else iter(())

    def _add_entry(self, client: _Client[W]) -> None:
        if client.queue:
            insort(self._entries, (client.tag, client.head.arrival, client.head.client))

    def _drop_entry(self, client: _Client[W]) -> None:
        entry = (client.tag, client.head.arrival, client.head.client)
        del self._entries[bisect_left(self._entries, entry)]

    def _remove(self, client: _Client[W], item: W) -> None:
        del client.queue[item.arrival]
        self._count -= 1

    def _drop_idle_client(self, name: str) -> None:
        client = self._clients[name]
        if not client.queue and not client.slots_held:
            del self._clients[name]
