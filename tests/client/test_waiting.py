"""Prompts that wait, that don't, and that take too long; and where a prompt would go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from oblix import (
    AbortedError,
    Completed,
    DeadlineExceededError,
    Delta,
    Event,
    FailedPreconditionError,
    OblixClient,
    Queued,
    Started,
)
from oblix.testing import Answer, OllamaServer, Stall


async def start_answer(
    client: OblixClient, ollama: OllamaServer, **options: object
) -> AsyncGenerator[Event, None]:
    """An answer that has begun and does not end."""
    ollama.script(Answer("one two", fault=Stall(after=1)))
    events = client.stream("Hello", **options)
    async for event in events:
        if isinstance(event, Delta):
            break
    return events


async def test_a_timeout_ends_it_and_keeps_the_part(hooked_client: OblixClient, ollama: OllamaServer) -> None:
    for seconds in (0.5, 5.0, 30.0):  # on a busy machine the first may be over before the first token came
        ollama.script(Answer("one two", fault=Stall(after=1)))
        session_id = await hooked_client.create_session()
        with pytest.raises(DeadlineExceededError) as caught:
            await hooked_client.execute("Hello", session_id=session_id, timeout=seconds, stream=False)
        assert caught.value.reason == "EXECUTION_TIMED_OUT"
        if len((hooked_client.load_session(session_id) or {})["messages"]) > 1:
            break
    assert await asyncio.to_thread(ollama.requests[-1].abandoned.wait, 60)
    session = hooked_client.load_session(session_id)
    assert session is not None
    assert [m["content"] for m in session["messages"]] == ["Hello", "one"]


async def test_a_prompt_that_does_not_wait_is_refused_at_once(
    hooked_client: OblixClient, ollama: OllamaServer
) -> None:
    session_id = await hooked_client.create_session()
    events = await start_answer(hooked_client, ollama, session_id=session_id)
    with pytest.raises(AbortedError) as caught:
        await hooked_client.execute("Now", session_id=session_id, when_busy="fail", stream=False)
    assert caught.value.reason == "SESSION_BUSY"
    await events.aclose()


async def test_the_interactive_go_first_and_see_what_they_wait_for(
    client: OblixClient, ollama: OllamaServer
) -> None:
    await client.hook_model("ollama", "llama2", endpoint=ollama.url, max_running=1)
    first = await start_answer(client, ollama)

    async def ask(name: str, priority: str, waits: asyncio.Event) -> None:
        async for event in client.stream(name, priority=priority, request_id=name):
            if isinstance(event, Queued):
                assert event.model == "ollama:llama2"
                waits.set()

    both = [asyncio.Event(), asyncio.Event()]
    asked = [asyncio.create_task(ask("later", "background", both[0]))]
    await both[0].wait()
    asked.append(asyncio.create_task(ask("sooner", "interactive", both[1])))
    await both[1].wait()
    listed = {one["request_id"]: one for one in client.list_executions()}
    assert {name: listed[name]["place"] for name in ("sooner", "later")} == {"sooner": 1, "later": 2}
    assert listed["later"]["waits_for"] == "ollama:llama2"
    assert (listed["later"]["priority"], listed["later"]["prompt_excerpt"]) == ("background", "later")
    await first.aclose()
    await asyncio.gather(*asked)
    # What the server saw tells the order: the ends of two streams can reach a program in either one.
    prompts = [request.body["messages"][-1]["content"] for request in ollama.requests[-2:]]
    assert prompts == ["sooner", "later"]


async def test_a_waiting_prompt_goes_on_without_its_client(client: OblixClient, ollama: OllamaServer) -> None:
    await client.hook_model("ollama", "llama2", endpoint=ollama.url, max_running=1)
    ollama.script(Answer("one two three", tokens_per_second=20), "After it.")
    for name in ("before", "after"):
        events = client.stream("Hello", request_id=name, on_disconnect="continue")
        await anext(events)
        await events.aclose()
    await client.shutdown()
    ends = [event async for event in OblixClient().attach("after")]
    assert isinstance(ends[-1], Completed)
    assert ends[-1].response["response"] == "After it."


async def test_where_a_prompt_would_go_is_told_without_sending_it(
    hooked_client: OblixClient, ollama: OllamaServer
) -> None:
    asked = len(ollama.requests)
    decision = await hooked_client.explain("Hello", temperature=0.5)
    assert decision["model_routing"]["target"] == "ollama:llama2"
    assert {"resource_routing", "connectivity_routing"} < set(decision)
    (candidate,) = decision["model_routing"]["candidates"]
    assert candidate["rank"] == 1
    assert len(ollama.requests) == asked
    refused = await hooked_client.explain("Hello", model="ollama:unknown")
    assert refused["model_routing"]["target"] == ""
    with pytest.raises(FailedPreconditionError):
        await hooked_client.execute("Hello", model="ollama:unknown", stream=False)


async def test_an_execution_is_listed_with_its_client_and_its_times(
    hooked_client: OblixClient, ollama: OllamaServer
) -> None:
    events = await start_answer(hooked_client, ollama, request_id="seen")
    (listed,) = [one for one in hooked_client.list_executions() if one["request_id"] == "seen"]
    assert (listed["model_id"], listed["ended_at"]) == ("ollama:llama2", None)
    assert listed["client"]
    await events.aclose()
    again = [event async for event in hooked_client.attach("seen")]
    assert isinstance(again[0], Started)
    (listed,) = [one for one in hooked_client.list_executions() if one["request_id"] == "seen"]
    assert listed["state"] == "cancelled"
    assert listed["ended_at"] > listed["created_at"]
