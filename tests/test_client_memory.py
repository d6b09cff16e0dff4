"""What is held for clients: counted to the byte, bounded for each and for all, and given back."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oblix.testing import Answer, Cut, OllamaServer
from oblix.v1 import executions_pb2, messages_pb2
from support.drivers.events import all_of
from support.drivers.execution import Harness, harness_in, prompt
from support.drivers.waiting import eventually

from oblixd.client_memory import MIB, RESERVE_BYTES, SMALL_BYTES, ClientMemory, Turn, Turns
from oblixd.errors import ResourceExhaustedError, UnavailableError
from oblixd.models import ChatRequest

PHOTO = messages_pb2.ImagePart(media_type="image/png", data=b"\xa5" * (2 * MIB))


def memory_full_error(memory: ClientMemory, client: str, size: int) -> str:
    with pytest.raises(ResourceExhaustedError) as refused:
        memory.share(client).take(size)
    assert refused.value.reason == "MEMORY_FULL"
    return refused.value.message


def test_one_client_has_half_of_it_and_all_together_the_whole() -> None:
    memory = ClientMemory(64 * MIB)
    for client in "ab":
        memory.share(client).take(24 * MIB)
        assert "this client" in memory_full_error(memory, client, 8 * MIB)
    assert "all clients" in memory_full_error(memory, "c", 20 * MIB)
    memory.share("c").take(4 * MIB)


def test_small_requests_have_a_reserve() -> None:
    memory = ClientMemory(64 * MIB)
    for client in "abc":
        memory.share(client).take((64 * MIB - RESERVE_BYTES) // 3)
    memory_full_error(memory, "d", SMALL_BYTES + 1)
    memory.share("d").take(SMALL_BYTES)
    memory.share("a").take(SMALL_BYTES)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1000)), max_size=50))
def test_nothing_is_left_once_all_gave_back(steps: list[tuple[str, int]]) -> None:
    memory = ClientMemory(64 * MIB)
    shares = []
    for client, size in steps:
        share = memory.share(client)
        share.take(size)
        shares.append(share.move(client) if size % 2 else share)
        if size % 3 == 0:
            shares[-1].keep(size // 2)
    assert memory.total_bytes == sum(share.size for share in shares)
    for share in shares:
        share.release()
    assert (memory.total_bytes, memory.held_bytes("a")) == (0, 0)


async def test_turns_go_in_order_and_a_waiter_that_leaves_holds_up_nobody() -> None:
    turns, went = Turns(10), list[int]()

    async def go(number: int, size: int) -> Turn:
        turn = await turns.enter(size)
        went.append(number)
        return turn

    first = await go(0, 6)
    waiting = [asyncio.create_task(go(number, size)) for number, size in enumerate((6, 100, 1), 1)]
    await asyncio.sleep(0)
    assert went == [0], "the small one does not overtake"
    waiting[0].cancel()
    first.leave()
    first.leave()
    (await waiting[1]).leave()
    (await waiting[2]).leave()
    assert went == [0, 2, 3]


async def test_slow_requests_keep_no_other_out() -> None:
    turns = Turns(1)
    turn = await turns.enter()
    turn.leave_after(0.01)
    (await turns.enter()).leave()
    turn.leave()
    (await turns.enter()).leave()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Harness]:
    async with harness_in(tmp_path) as house:
        yield house


@pytest.fixture
async def server() -> AsyncIterator[OllamaServer]:
    with OllamaServer(["llama2"]) as server:
        yield server


def photo(handle: str, number: int, **fields: object) -> executions_pb2.ExecuteRequest:
    asked = prompt("What is this?", handle, request_id=f"photo {number}", **fields)
    asked.input[0].parts.add(image=PHOTO)
    return asked


async def test_an_answered_photo_is_not_kept_in_memory(house: Harness, server: OllamaServer) -> None:
    memory, handle = house.executions.memory, house.hook(server)
    for number in range(3):
        fields = {"session_id": await house.session()} if number else {}
        await all_of(house.executions.execute(photo(handle, number, **fields)))
    assert memory.total_bytes < 64 << 10
    asked = [one.messages for one in gc.get_objects() if isinstance(one, ChatRequest)]
    assert "What is this?" not in str(asked), "not held by any timer either"
    assert len(house.executions.list("")) == 3
    again = await all_of(house.executions.execute(photo(handle, 0)))
    assert again[-1].completed.message.parts[0].text == "You said: What is this?"
    assert len(server.requests) == 3


async def test_a_photo_that_is_not_answered_is_let_go_of_too(house: Harness, server: OllamaServer) -> None:
    server.script(Answer("one two", fault=Cut(after=1)))
    with pytest.raises(UnavailableError):
        await all_of(house.executions.execute(photo(house.hook(server), 0)))
    assert house.executions.memory.total_bytes < 64 << 10


async def test_ended_answers_make_room_for_new_prompts(house: Harness, server: OllamaServer) -> None:
    memory, handle = house.executions.memory, house.hook(server)
    server.default = lambda _: Answer(("w" * 9_999 + " ") * 100)
    for number in range(4):
        await all_of(house.executions.execute(prompt("Write", handle, request_id=f"long {number}")))
    kept = memory.total_bytes
    assert kept > 4 * MIB
    everybody = memory.share("somebody")
    everybody.hold_only(memory.limit - RESERVE_BYTES - kept)
    server.default = lambda _: Answer("Short.")
    assert (await all_of(house.executions.execute(photo(handle, 1))))[-1].HasField("completed")
    assert "long 0" not in [one.request_id for one in house.executions.list("")]
    everybody.release()


async def test_a_history_that_has_no_room_is_refused_before_it_is_read_whole(
    house: Harness, server: OllamaServer
) -> None:
    session, handle = await house.session(), house.hook(server)
    image = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(image=PHOTO)])
    for _ in range(5):
        await house.sessions.append(session, [image] * 5)
    with pytest.raises(ResourceExhaustedError) as refused:
        await all_of(house.executions.execute(prompt("And now?", handle, session_id=session)))
    assert refused.value.reason == "MEMORY_FULL"
    assert server.requests == []
    await eventually(lambda: house.executions.memory.total_bytes < 64 << 10)
