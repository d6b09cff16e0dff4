"""Who makes room for whom, and what becomes of who does not fit."""

from __future__ import annotations

import asyncio

import pytest
from support.drivers.waiting import eventually

from oblixd.models.base import ModelError, ModelErrorKind
from oblixd.models.embedded.gguf import Header
from oblixd.models.embedded.memory import (
    GIB,
    LEAST_CACHE_BYTES,
    Memory,
    cache_bytes,
    free_bytes,
    half_of_the_machine,
    needs,
    window_bytes,
)


class Model:
    """A resident whose use a test decides. It takes a moment to go."""

    def __init__(self, memory: Memory, title: str) -> None:
        self.title = title
        self.idle_since_s: float | None = None
        self.left = 0
        self._memory = memory

    def leave(self) -> None:
        self.left += 1
        self.idle_since_s = None
        asyncio.get_running_loop().call_soon(self._memory.release, self)

    def rest(self, now_s: float) -> None:
        self.idle_since_s = now_s
        self._memory.rests(self)


async def test_the_one_that_was_idle_for_longest_makes_room() -> None:
    memory = Memory(10)
    one, two, three = (Model(memory, title) for title in ("one", "two", "three"))
    await memory.take(one, 4)
    await memory.take(two, 4)
    two.rest(1.0)
    one.rest(2.0)
    await memory.take(three, 4)
    assert (one.left, two.left) == (0, 1)
    assert [memory.held_bytes(model) for model in (one, two, three)] == [4, 0, 4]


async def test_as_many_go_as_must() -> None:
    memory = Memory(10)
    models = [Model(memory, str(number)) for number in range(3)]
    for model in models:
        await memory.take(model, 3)
        model.rest(1.0)
    large = Model(memory, "large")
    await memory.take(large, 10)
    assert [model.left for model in models] == [1, 1, 1]


async def test_a_busy_model_is_waited_for_and_unloaded_at_once() -> None:
    memory = Memory(10)
    busy, waiting = Model(memory, "busy"), Model(memory, "waiting")
    await memory.take(busy, 8)
    taking = asyncio.create_task(memory.take(waiting, 8))
    await asyncio.sleep(0)
    await eventually(lambda: memory._somebody_waits)
    assert (busy.left, taking.done()) == (0, False)
    busy.rest(1.0)
    assert busy.left == 1, "before its next prompt comes"
    await taking
    assert (memory.held_bytes(busy), memory.held_bytes(waiting)) == (0, 8)


async def test_nobody_waits_for_ever() -> None:
    memory = Memory(10 * GIB, wait_s=0.01)
    busy, waiting = Model(memory, "embedded:busy"), Model(memory, "embedded:waiting")
    await memory.take(busy, 8 * GIB)
    with pytest.raises(
        ModelError, match=r"needs about 4\.0 GiB of the 10\.0 GiB.*embedded:busy \(8\.0 GiB\)"
    ) as caught:
        await memory.take(waiting, 4 * GIB)
    assert caught.value.kind is ModelErrorKind.NO_MEMORY
    assert caught.value.numbers == {
        "needed_bytes": 4 * GIB,
        "limit_bytes": 10 * GIB,
        "held_bytes": 8 * GIB,
    }
    assert (busy.left, memory.held_bytes(waiting)) == (0, 0)
    busy.rest(1.0)
    assert busy.left == 0, "nobody waits any more"


async def test_a_model_that_can_never_fit_is_refused_and_unloads_no_other() -> None:
    memory = Memory(10)
    idle, large = Model(memory, "idle"), Model(memory, "large")
    await memory.take(idle, 4)
    idle.rest(1.0)
    with pytest.raises(ModelError, match="does not fit") as caught:
        await memory.take(large, 11)
    assert caught.value.kind is ModelErrorKind.NO_MEMORY
    assert idle.left == 0


async def test_a_cancelled_wait_holds_up_no_other() -> None:
    memory = Memory(10)
    busy, impatient, small = (Model(memory, title) for title in ("busy", "impatient", "small"))
    await memory.take(busy, 8)
    taking = asyncio.create_task(memory.take(impatient, 8))
    await eventually(lambda: memory._somebody_waits)
    taking.cancel()
    await asyncio.wait([taking])
    await memory.take(small, 2)
    assert (memory.held_bytes(impatient), memory.held_bytes(small)) == (0, 2)


def test_half_of_the_machine() -> None:
    assert 0 < half_of_the_machine() < 1 << 50


SMOL = Header(
    file_bytes=93 << 20, context_length=8192, kept_per_token=11_520, embedding_length=576, vocabulary=49_152
)


def test_the_cache_of_prompts_goes_by_free_memory() -> None:
    window = window_bytes(SMOL, 8192)
    assert window == 180 << 20
    assert cache_bytes(SMOL, 8192, 64 * GIB) == 4 * window
    assert cache_bytes(SMOL, 8192, 2 * GIB) == GIB // 4
    assert cache_bytes(SMOL, 8192, 0) == LEAST_CACHE_BYTES
    assert 0 < free_bytes(GIB) <= GIB


def test_the_memory_of_a_model_grows_with_slots_and_cache() -> None:
    one, four = needs(SMOL, 2048, 1, 0), needs(SMOL, 2048, 4, 0)
    assert 210 << 20 < one < 260 << 20, "it took 210 MiB with a full window"
    assert four - one == 3 * (window_bytes(SMOL, 2048) + 4 * 49_152)
    assert needs(SMOL, 2048, 1, GIB) - one == GIB
