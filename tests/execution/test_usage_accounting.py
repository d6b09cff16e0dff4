"""What executions cost: written with the answer, counted once, and held against the caps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from oblix.testing import Answer, Cut, Insert, OllamaServer, OpenAIServer, Refuse
from oblix.v1 import executions_pb2
from support.drivers.events import all_of, error_of
from support.drivers.execution import CLIENT, Harness, harness_in, prompt

from oblixd.errors import OblixdError, ResourceExhaustedError, UnavailableError
from oblixd.execution.services import ClientInfo
from oblixd.models import hook_spec
from oblixd.models.base import Location
from oblixd.usage import Caps, Group

PRICES = ["openai:gpt-4o-mini=1000000/2000000"]
"""One a token that is read, two a token that is written."""
ANSWER = Answer("one two three", input_tokens=4)


@asynccontextmanager
async def house_with(tmp_path: Path, caps: Caps | None = None) -> AsyncIterator[Harness]:
    async with harness_in(tmp_path, prices=PRICES, caps=caps) as harness:
        yield harness


def hook_paid(harness: Harness, server: OpenAIServer) -> str:
    spec = hook_spec.spec_of("openai", "gpt-4o-mini", endpoint=server.url, api_key="sk-test")
    return harness.registry.hook(CLIENT, spec).handle


@pytest.fixture
def priced_server() -> AsyncIterator[OpenAIServer]:
    with OpenAIServer(["gpt-4o-mini"]) as server:
        yield server


async def test_the_cost_is_in_the_answer_and_in_the_books(
    tmp_path: Path, priced_server: OpenAIServer
) -> None:
    priced_server.script(ANSWER)
    async with house_with(tmp_path) as harness:
        session = await harness.session()
        request = prompt("Hi", hook_paid(harness, priced_server), session_id=session, request_id="mine")
        *_, last = await all_of(harness.executions.execute(request, ClientInfo("random", "editor/7")))
        assert last.completed.message.usage.cost == 4 + 2 * 3
        # Told again, it is the same bill.
        await all_of(harness.executions.execute(request))
        report = await harness.usage.report(group=Group.PROGRAM)
    (row,) = report.rows
    assert (row.key, row.executions, row.cost) == ("editor", 1, 10)
    assert (row.input_tokens, row.output_tokens) == (4, 3)


async def test_a_part_is_counted_and_a_refusal_is_not(tmp_path: Path, priced_server: OpenAIServer) -> None:
    priced_server.script(*[Answer("never", fault=Refuse(401))], Answer("one two", fault=Cut(after=1)))
    async with house_with(tmp_path) as harness:
        handle = hook_paid(harness, priced_server)
        for _ in range(2):
            with pytest.raises(OblixdError):
                await all_of(harness.executions.execute(prompt("Hi", handle)))
        total = (await harness.usage.report()).total
    assert (total.executions, total.unpriced_executions) == (1, 1)


async def test_a_cap_refuses_what_costs_something(
    tmp_path: Path, priced_server: OpenAIServer, server: OllamaServer
) -> None:
    priced_server.script(ANSWER)
    async with house_with(tmp_path, Caps(daily=5)) as harness:
        both = hook_paid(harness, priced_server), harness.hook(server)
        await all_of(harness.executions.execute(prompt("Hi", both[0])))
        error = await error_of(harness.executions.execute(prompt("Hi", both[0])), ResourceExhaustedError)
        assert (error.reason, error.metadata["period"]) == ("BUDGET_SPENT", "day")
        *_, last = await all_of(harness.executions.execute(prompt("Hi", both[1])))
    assert last.completed.message.model == "ollama:llama2"
    assert len(priced_server.requests) == 1


async def test_a_cap_can_send_prompts_to_what_costs_nothing(
    tmp_path: Path, priced_server: OpenAIServer, server: OllamaServer
) -> None:
    priced_server.script(ANSWER)
    async with house_with(tmp_path, Caps(monthly=5, action="local")) as harness:
        both = hook_paid(harness, priced_server), harness.hook(server)
        await all_of(harness.executions.execute(prompt("Hi", both[0])))
        *_, last = await all_of(harness.executions.execute(prompt("Hi", *both)))
        assert last.completed.message.model == "ollama:llama2"
        error = await error_of(harness.executions.execute(prompt("Hi", both[0])), ResourceExhaustedError)
    assert error.metadata["period"] == "month"


async def test_a_prompt_that_failed_everywhere_costs_nothing(harness: Harness, server: OllamaServer) -> None:
    server.script(*[Answer("never", fault=Refuse(500))] * 3)
    request: executions_pb2.ExecuteRequest = prompt("Hi", harness.hook(server))
    await error_of(harness.executions.execute(request), UnavailableError)
    assert (await harness.usage.report()).total.executions == 0


async def test_cached_tokens_are_counted_and_priced(harness: Harness) -> None:
    usage = {
        "prompt_tokens": 1_000_000,
        "completion_tokens": 100_000.0,
        "prompt_tokens_details": {"cached_tokens": 800_000},
        "completion_tokens_details": {"reasoning_tokens": 40_000},
    }
    frame = b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"
    with OpenAIServer(["m"]) as server:
        server.script(Answer("One two three", fault=Insert(frame, 2)))
        price = {"input": 10, "output": 20, "cache_read": 1}
        spec = hook_spec.spec_of(
            "custom", "m", endpoint=server.url, location=Location.LOCAL, options={"price": price}
        )
        handle = harness.registry.hook(CLIENT, spec).handle
        *_, last = await all_of(harness.executions.execute(prompt("Hi", handle)))
    told = last.completed.message.usage
    assert (told.input_tokens, told.output_tokens) == (1_000_000, 100_000)
    assert (told.cache_read_tokens, told.reasoning_tokens) == (800_000, 40_000)
    assert not told.HasField("cache_write_tokens")
    assert told.cost == pytest.approx(2 + 0.8 + 2)


async def test_a_recorded_prompt_is_two_transactions_its_usage_in_the_second(
    harness: Harness, server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, store = await harness.session(), harness.sessions.db.store
    writes, write = list[object](), type(store).write
    monkeypatch.setattr(
        type(store), "write", lambda *args, **more: (writes.append(args), write(*args, **more))[1]
    )
    await all_of(harness.executions.execute(prompt("Hi", harness.hook(server), session_id=session)))
    assert len(writes) == 2
    report = await harness.usage.report()
    assert report.total.executions == 1


async def test_counts_that_end_beside_others_wait_for_each_other(
    harness: Harness, server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They share a sync, which takes a third of what a short reply takes. Alone none waits."""
    store = harness.sessions.db.store
    waits, write = list[bool](), type(store).write
    monkeypatch.setattr(
        type(store), "write", lambda *args, **more: (waits.append(more["gathers"]), write(*args, **more))[1]
    )
    handle = harness.hook(server)
    await all_of(harness.executions.execute(prompt("Hi", handle)))
    assert waits == [False]
    await asyncio.gather(*(all_of(harness.executions.execute(prompt("Hi", handle))) for _ in range(8)))
    assert any(waits)
    assert (await harness.usage.report()).total.executions == 9


async def test_a_part_of_a_local_answer_is_free(tmp_path: Path, server: OllamaServer) -> None:
    server.script(Answer("one two", fault=Cut(after=1)))
    async with house_with(tmp_path) as harness:
        with pytest.raises(OblixdError):
            await all_of(harness.executions.execute(prompt("Hi", harness.hook(server))))
        total = (await harness.usage.report()).total
    assert (total.executions, total.unpriced_executions, total.cost) == (1, 0, 0)
