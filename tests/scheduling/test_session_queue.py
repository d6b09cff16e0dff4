"""Turns queue in order of arrival, and may leave the line."""

from __future__ import annotations

import asyncio

import pytest

from oblixd.scheduling.cancel_scope import CancelScope, Stopped, StopReason
from oblixd.scheduling.session_queue import TurnQueue


class Visitor:
    """Somebody who takes a turn and holds it until told."""

    def __init__(self, queue: TurnQueue, session_id: str, served: list[str], name: str) -> None:
        self.slots: list[int] = []
        self.scope = CancelScope()
        self.may_leave = asyncio.Event()
        self.task = asyncio.create_task(self._visit(queue, session_id, served, name))

    async def _visit(self, queue: TurnQueue, session_id: str, served: list[str], name: str) -> None:
        async with queue.turn(session_id, self.scope, self.slots.append):
            served.append(name)
            await self.may_leave.wait()


async def let_tasks_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_first_come_first_served_and_everybody_sees_their_place() -> None:
    queue, served = TurnQueue(), []
    first, second, third = (Visitor(queue, "s", served, name) for name in "abc")
    await let_tasks_run()
    assert (served, second.slots, third.slots) == (["a"], [1], [2])
    first.may_leave.set()
    await let_tasks_run()
    assert (served, third.slots) == (["a", "b"], [2, 1])
    for visitor in (second, third):
        visitor.may_leave.set()
    await asyncio.gather(first.task, second.task, third.task)
    assert served == ["a", "b", "c"]


async def test_a_stopped_turn_leaves_the_queue_and_the_others_move_up() -> None:
    queue, served = TurnQueue(), []
    first, second, third = (Visitor(queue, "s", served, name) for name in "abc")
    await let_tasks_run()
    second.scope.request(StopReason.CANCELLED)
    with pytest.raises(Stopped):
        await second.task
    assert third.slots == [2, 1]
    for visitor in (first, third):
        visitor.may_leave.set()
    await asyncio.gather(first.task, third.task)
    assert served == ["a", "c"]


async def test_other_sessions_do_not_wait() -> None:
    queue, served = TurnQueue(), []
    visitors = [Visitor(queue, session, served, session) for session in "xy"]
    await let_tasks_run()
    assert served == ["x", "y"]
    for visitor in visitors:
        visitor.may_leave.set()
        await visitor.task


async def test_a_stop_outside_the_scope_strikes_at_its_next_entry() -> None:
    scope = CancelScope()
    scope.request(StopReason.INTERRUPTED)
    scope.request(StopReason.CANCELLED)
    with pytest.raises(Stopped) as stopped, scope:
        pass
    assert stopped.value.stop is StopReason.INTERRUPTED
