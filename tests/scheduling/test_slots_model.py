"""Any order of coming, leaving and being served, held against what a line has to keep to."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import closing

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from oblixd.models.base import ModelError
from oblixd.scheduling.slots import EXACT_POSITIONS, ModelSlots, Priority, Ticket

KEY = "model"
LENGTH = 12
FARTHEST_AHEAD = 2
"""Goyal, Vin and Cheng 1996, theorem 1: one place for each of the two clients."""


class Somebody:
    """Wants a place, holds it until told, and is cancelled where that is tried."""

    def __init__(self, client: str, priority: Priority) -> None:
        self.client = client
        self.priority = priority
        self.place = 0
        self.may_leave = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def hear(self, place: int) -> None:
        self.place = place


class Line(RuleBasedStateMachine):
    """Whoever waits or runs, as the outside sees it."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._slots = ModelSlots(queue_length=LENGTH)
        self._limit: int | None = 1
        self._waiting: list[Somebody] = []
        self._running: list[Somebody] = []
        self._served: list[Somebody] = []
        """Who got a place since the model last looked."""
        self._lead: Counter[tuple[str, str, Priority]] = Counter()
        """How many more slots the first client got than the second, since both wait without a pause."""

    def teardown(self) -> None:
        with closing(self._runner):
            self._limit = None
            self._come("last", Priority.INTERACTIVE)
            while self._running:
                self.finish(0)
            assert (self._slots.load(KEY).running_count, self._slots.load(KEY).waiting_count) == (0, 0)

    @rule(client=st.sampled_from("abc"), priority=st.sampled_from(Priority))
    def come(self, client: str, priority: Priority) -> None:
        self._come(client, priority)

    @rule(limit=st.sampled_from([1, 2, 3, None]), client=st.sampled_from("abc"))
    def come_with_another_limit(self, limit: int | None, client: str) -> None:
        self._limit = limit
        self._come(client, Priority.INTERACTIVE)

    @precondition(lambda self: self._running)
    @rule(which=st.integers(0, 20))
    def finish(self, which: int) -> None:
        one = self._running.pop(which % len(self._running))
        one.may_leave.set()
        self._settle()

    @precondition(lambda self: self._waiting)
    @rule(which=st.integers(0, 20))
    def leave(self, which: int) -> None:
        self._cancel(self._waiting.pop(which % len(self._waiting)))
        self._settle()

    @precondition(lambda self: self._running and self._waiting)
    @rule(which=st.integers(0, 20), leaver=st.integers(0, 20))
    def finish_while_another_leaves(self, which: int, leaver: int) -> None:
        """The place may have been given to who leaves, who did not hear of it yet."""
        gone = self._waiting.pop(leaver % len(self._waiting))
        self._running.pop(which % len(self._running)).may_leave.set()
        self._runner.get_loop().call_soon(self._cancel, gone)
        self._settle()

    @invariant()
    def as_many_run_as_may(self) -> None:
        assert self._slots.load(KEY).running_count == len(self._running)
        assert self._slots.load(KEY).waiting_count == len(self._waiting)
        assert not self._waiting or (self._limit is not None and len(self._running) >= self._limit)

    @invariant()
    def everybody_near_knows_the_place(self) -> None:
        slots = sorted(one.place for one in self._waiting if 0 < one.place <= EXACT_POSITIONS)
        assert slots == list(range(1, len(self._waiting) + 1))[:EXACT_POSITIONS]

    def _come(self, client: str, priority: Priority) -> None:
        one = Somebody(client, priority)
        full = self._limit is not None and len(self._running) >= self._limit and len(self._waiting) >= LENGTH
        self._waiting.append(one)
        self._runner.run(self._start(one))
        self._settle()
        if full:
            assert one.task is not None
            assert isinstance(one.task.exception(), ModelError)
            self._waiting.remove(one)

    async def _start(self, one: Somebody) -> None:
        one.task = asyncio.create_task(self._visit(one))

    async def _visit(self, one: Somebody) -> None:
        ticket = Ticket(one.client, one.priority, one.hear)
        async with self._slots.acquire(KEY, self._limit, ticket):
            self._served.append(one)
            await one.may_leave.wait()

    @staticmethod
    def _cancel(one: Somebody) -> None:
        assert one.task is not None
        one.task.cancel()

    def _settle(self) -> None:
        async def let_tasks_run() -> None:
            for _ in range(6):
                await asyncio.sleep(0)

        self._runner.run(let_tasks_run())
        served = self._served.copy()
        self._served.clear()
        left = [one for one in self._waiting if one not in served]
        for one in served:
            self._goes_on(one, left)
        self._waiting = left
        self._forget_leads()

    def _goes_on(self, one: Somebody, left: list[Somebody]) -> None:
        """Who goes on together with others is held against those who are left behind."""
        assert one in self._waiting, "who was cancelled before it went on must not go on"
        earlier = self._waiting[: self._waiting.index(one)]
        peers = [other for other in left if other.priority is one.priority]
        assert not any(other.client == one.client and other in earlier for other in peers)
        assert one.priority is Priority.INTERACTIVE or peers == left
        for other in {other.client for other in peers} - {one.client}:
            self._lead[one.client, other, one.priority] += 1
            self._lead[other, one.client, one.priority] -= 1
        self._running.append(one)

    def _forget_leads(self) -> None:
        """A lead counts for as long as both wait without a pause."""
        wait = {(one.client, one.priority) for one in self._waiting}
        for one, other, priority in list(self._lead):
            if (one, priority) not in wait or (other, priority) not in wait:
                del self._lead[one, other, priority]
        assert all(lead <= FARTHEST_AHEAD for lead in self._lead.values())


TestLine = Line.TestCase
TestLine.settings = settings(max_examples=40, stateful_step_count=60, deadline=None)
