"""Places at a model: never too many, nobody forgotten, fair by client, and no trace of who left."""

from __future__ import annotations

import asyncio
import gc

import pytest
from support.drivers.waiting import eventually

from oblixd.models.base import ModelError, ModelErrorKind
from oblixd.scheduling.fair_queue import FairQueue
from oblixd.scheduling.slots import EXACT_POSITIONS, ModelSlots, PositionNotifier, Priority, Ticket

KEY = "ollama:llama2"


class Visitor:
    """Somebody who takes a place and holds it until told."""

    def __init__(
        self,
        slots: ModelSlots,
        served: list[Visitor],
        client: str = "a",
        limit: int | None = 1,
        priority: Priority = Priority.INTERACTIVE,
    ) -> None:
        self.client = client
        self.priority = priority
        self.told: list[int] = []
        self.may_leave = asyncio.Event()
        ticket = Ticket(client, priority, self.told.append)
        self.task = asyncio.create_task(self._visit(slots, served, limit, ticket))

    async def _visit(
        self, slots: ModelSlots, served: list[Visitor], limit: int | None, ticket: Ticket
    ) -> None:
        async with slots.acquire(KEY, limit, ticket):
            served.append(self)
            await self.may_leave.wait()


async def let_tasks_run() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


async def play_out(served: list[Visitor], count: int) -> list[str]:
    """Let each leave as soon as it was served, until so many were; whose they were."""
    for number in range(count):
        await let_tasks_run()
        served[number].may_leave.set()
    await asyncio.gather(*(visitor.task for visitor in served))
    return [visitor.client for visitor in served]


def lines_left() -> list[object]:
    """What is kept of any line, be it by a timer."""
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, FairQueue | PositionNotifier)]


async def test_without_a_limit_nobody_waits() -> None:
    slots, served = ModelSlots(), []
    visitors = [Visitor(slots, served, limit=None) for _ in range(50)]
    await let_tasks_run()
    assert (slots.load(KEY).running_count, slots.load(KEY).waiting_count) == (50, 0)
    assert [visitor.told for visitor in visitors] == [[]] * 50
    await play_out(served, 50)
    assert slots.load(KEY).running_count == 0


async def test_a_place_is_passed_on_in_order_of_arrival_and_everybody_sees_theirs() -> None:
    slots, served = ModelSlots(), []
    visitors = [Visitor(slots, served, limit=2) for _ in range(5)]
    await let_tasks_run()
    assert (slots.load(KEY).running_count, slots.load(KEY).waiting_count) == (2, 3)
    await play_out(served, 5)
    assert served == visitors
    assert [visitor.told for visitor in visitors] == [[], [], [1], [2, 1], [3, 2, 1]]


async def test_a_client_with_a_hundred_prompts_makes_another_wait_for_one() -> None:
    slots, served = ModelSlots(), []
    for _ in range(100):
        Visitor(slots, served, "many")
    await let_tasks_run()
    one = Visitor(slots, served, "one")
    await let_tasks_run()
    assert one.told == [1]
    order = await play_out(served, 101)
    assert order.index("one") == 1


async def test_clients_take_turns() -> None:
    slots, served = ModelSlots(), []
    for client in "aaaabbcc":
        Visitor(slots, served, client)
    assert "".join(await play_out(served, 8)) == "abcabcaa"


async def test_new_clients_do_not_starve_the_second_prompt_of_another() -> None:
    slots, served = ModelSlots(), []
    for client in ("holds", "two", "two"):
        Visitor(slots, served, client)
    for number in range(20):
        Visitor(slots, served, f"once {number}")
        await let_tasks_run()
        served[-1].may_leave.set()
        await let_tasks_run()
    order = [visitor.client for visitor in served]
    assert order.count("two") == 2, order
    await play_out(served, 23)


async def test_interactive_prompts_go_before_background_ones() -> None:
    slots, served = ModelSlots(), []
    Visitor(slots, served, "holds")
    behind = Visitor(slots, served, "b", priority=Priority.BACKGROUND)
    before = Visitor(slots, served, "i")
    await let_tasks_run()
    assert (behind.told, before.told) == ([1, 2], [1])
    assert await play_out(served, 3) == ["holds", "i", "b"]


async def test_a_full_queue_refuses_with_its_length() -> None:
    slots, served = ModelSlots(queue_length=2), []
    for _ in range(3):
        Visitor(slots, served)
    await let_tasks_run()
    assert slots.load(KEY).is_full
    refused = Visitor(slots, served)
    with pytest.raises(ModelError) as error:
        await refused.task
    assert error.value.kind is ModelErrorKind.QUEUE_FULL
    assert error.value.numbers == {"length": 2}
    assert not slots.load("another").is_full
    await play_out(served, 3)
    assert not slots.load(KEY).is_full


async def test_a_server_that_takes_more_lets_those_who_wait_go_on() -> None:
    slots, served = ModelSlots(), []
    for _ in range(3):
        Visitor(slots, served)
    await let_tasks_run()
    assert len(served) == 1
    Visitor(slots, served, limit=3)
    await let_tasks_run()
    assert (slots.load(KEY).running_count, slots.load(KEY).waiting_count) == (3, 1)
    Visitor(slots, served, limit=2)
    await let_tasks_run()
    served[0].may_leave.set()
    await let_tasks_run()
    assert slots.load(KEY).running_count == 2, "one too many still ran: nobody follows it"
    await play_out(served, 5)


async def test_a_waiter_that_leaves_the_queue_leaves_no_trace() -> None:
    slots, served = ModelSlots(), []
    Visitor(slots, served, "holds")
    waiting = [Visitor(slots, served, client) for client in "aabbc"]
    await let_tasks_run()
    for number in (0, 2, 4):
        waiting[number].task.cancel()
    await let_tasks_run()
    assert slots.load(KEY).waiting_count == 2
    assert [visitor.told[-1] for visitor in (waiting[1], waiting[3])] == [1, 2]
    assert await play_out(served, 3) == ["holds", "a", "b"]
    # The error that a task ended with keeps what it came through.
    del waiting
    assert not lines_left()


async def test_a_place_given_to_somebody_who_is_cancelled_in_that_moment_goes_to_the_next() -> None:
    slots, served = ModelSlots(), []
    holder, leaver, heir = (Visitor(slots, served, client) for client in "abc")
    await let_tasks_run()
    holder.may_leave.set()
    leaver.task.cancel()
    await let_tasks_run()
    assert served == [holder, heir]
    leaver, last = Visitor(slots, served), Visitor(slots, served)
    await let_tasks_run()
    heir.may_leave.set()
    await heir.task
    leaver.task.cancel()
    await let_tasks_run()
    assert served[-1] is last
    last.may_leave.set()
    await last.task
    assert slots.load(KEY).running_count == 0


async def test_those_far_behind_hear_that_it_goes_on_but_not_of_each_step() -> None:
    slots, served = ModelSlots(), []
    visitors = [Visitor(slots, served, f"client {number}") for number in range(200)]
    last = visitors[-1]
    await eventually(lambda: last.told == [199])
    for number in range(100):
        served[number].may_leave.set()
        await let_tasks_run()
    await eventually(lambda: last.told[-1] == 99)
    assert len(last.told) <= 8
    for visitor in visitors[100:]:
        visitor.may_leave.set()
    await asyncio.gather(*(visitor.task for visitor in visitors))
    assert last.told[-EXACT_POSITIONS:] == list(range(EXACT_POSITIONS, 0, -1))


async def test_nothing_is_kept_and_nothing_ticks_where_nobody_waits_or_runs() -> None:
    slots, served = ModelSlots(), []
    for number in range(EXACT_POSITIONS + 5):
        Visitor(slots, served, f"client {number}")
    await let_tasks_run()
    assert lines_left()
    await play_out(served, EXACT_POSITIONS + 5)
    assert not lines_left()
