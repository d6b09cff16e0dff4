"""How often the embedded model is tried again."""

from __future__ import annotations

import pytest

from oblixd.models.base import ModelError, State
from oblixd.models.embedded.memory import Memory
from oblixd.models.embedded.process import Worker, WorkerError
from oblixd.models.embedded.supervisor import CRASH_WINDOW_S, CRASHES, REST_S, Supervisor


class Broken:
    """A start that never works, and time that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.starts = 0

    async def start(self) -> Worker:
        self.starts += 1
        raise WorkerError("out of memory")

    def clock(self) -> float:
        return self.now_s


async def attempt(supervisor: Supervisor) -> str:
    with pytest.raises(ModelError) as caught:
        async with supervisor.use():
            pass
    return caught.value.message


async def test_a_crash_loop_is_left_alone_for_a_while() -> None:
    broken = Broken()
    supervisor = Supervisor("embedded:x", broken.start, Memory(1), idle_unload_s=60, clock=broken.clock)
    for _ in range(CRASHES):
        assert "out of memory" in await attempt(supervisor)
    assert "left alone for 30 s" in await attempt(supervisor)
    assert supervisor.status().state is State.UNAVAILABLE
    assert broken.starts == CRASHES
    broken.now_s += REST_S
    assert supervisor.status().state is State.IDLE
    assert "out of memory" in await attempt(supervisor)
    assert "left alone" in await attempt(supervisor), "once more is enough"
    await supervisor.close()


async def test_crashes_far_apart_are_no_loop() -> None:
    broken = Broken()
    supervisor = Supervisor("embedded:x", broken.start, Memory(1), idle_unload_s=60, clock=broken.clock)
    for _ in range(2 * CRASHES):
        assert "out of memory" in await attempt(supervisor)
        broken.now_s += CRASH_WINDOW_S
    await supervisor.close()


async def test_after_the_end_nothing_is_started() -> None:
    broken = Broken()
    supervisor = Supervisor("embedded:x", broken.start, Memory(1), idle_unload_s=60, clock=broken.clock)
    await supervisor.close()
    assert "shut down" in await attempt(supervisor)
    assert broken.starts == 0
