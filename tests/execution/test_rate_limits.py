"""A server that said when it takes requests again is not asked before."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from oblix.testing import Answer, OllamaServer, Refuse
from support.drivers.execution import Harness, prompt

from oblixd.errors import ResourceExhaustedError
from oblixd.execution.fallback import wait_for_rate_limit
from oblixd.execution.retry import RetryBudget
from oblixd.models.base import ModelError, ModelErrorKind


@pytest.fixture
def other() -> Iterator[OllamaServer]:
    with OllamaServer(["llama2"]) as server:
        yield server


async def models_that_failed(harness: Harness, *handles: str) -> list[tuple[str, str]]:
    events = [event async for event in harness.executions.execute(prompt("Hi", *handles))]
    return [(one.model, one.reason) for one in events[-1].completed.failed_attempts]


async def use_up(harness: Harness, server: OllamaServer, handle: str, seconds: str) -> None:
    """One refusal that says for how long. Its own retry is past the budget where that is long."""
    server.script(Answer(fault=Refuse(429, headers={"Retry-After": seconds})))
    with pytest.raises(ResourceExhaustedError):
        await models_that_failed(harness, handle)


async def test_a_long_limit_sends_the_prompt_to_the_next_model_at_once(
    harness: Harness, server: OllamaServer, other: OllamaServer
) -> None:
    handle, spare = harness.hook(server), harness.hook(other)
    await use_up(harness, server, handle, "300")
    harness.executions.cooldowns.record_answer(handle)
    assert await models_that_failed(harness, handle, spare) == []
    assert (len(server.requests), len(other.requests)) == (1, 1)


async def test_a_limit_that_is_hit_after_the_route_was_chosen_counts_as_a_refusal(
    harness: Harness, server: OllamaServer
) -> None:
    handle = harness.hook(server)
    await use_up(harness, server, handle, "300")
    [hook] = harness.registry.resolve([handle])
    with pytest.raises(ModelError) as limited:
        await wait_for_rate_limit(hook.connection, RetryBudget(), is_last=False)
    assert limited.value.kind is ModelErrorKind.RATE_LIMITED
    assert limited.value.retry_after_s == pytest.approx(300, abs=30)
    assert len(server.requests) == 1


async def test_the_only_model_is_asked_all_the_same(harness: Harness, server: OllamaServer) -> None:
    handle = harness.hook(server)
    await use_up(harness, server, handle, "300")
    assert await models_that_failed(harness, handle) == []
    assert len(server.requests) == 2


async def test_a_short_limit_is_waited_for(
    harness: Harness, server: OllamaServer, other: OllamaServer
) -> None:
    handle, spare = harness.hook(server), harness.hook(other)
    server.script(
        Answer(fault=Refuse(429, headers={"x-ratelimit-remaining": "0", "x-ratelimit-reset": "0.3s"}))
    )
    began = time.monotonic()
    assert await models_that_failed(harness, handle, spare) == [("ollama:llama2", "MODEL_RATE_LIMITED")]
    assert time.monotonic() - began >= 0.3
    assert (len(server.requests), len(other.requests)) == (2, 0)
