"""Answers that outlive the connection over which they come."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from oblix import (
    Completed,
    Delta,
    Event,
    InvalidArgumentError,
    NotFoundError,
    OblixClient,
    Rerouted,
    Started,
    UnavailableError,
)
from oblix.testing import Answer, Cut, OllamaServer, Stall
from support.drivers import processes
from support.drivers.waiting import eventually
from support.proxies.socket_relay import Relay, relay_to

TEXT = " ".join(f"wörd{number}" for number in range(300))


@pytest.fixture
def relay(shared_home: Path, home: Path) -> Iterator[Relay]:
    with relay_to(shared_home, home) as relay:
        yield relay


@pytest.fixture
async def relayed_client(relay: Relay, ollama: OllamaServer) -> OblixClient:
    """A client whose connections go through the relay. It has one model."""
    client = OblixClient()
    await client.hook_model("ollama", "llama2", endpoint=ollama.url)
    return client


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def kinds_of(events: list[Event]) -> list[str]:
    """The kinds of the events, deltas in a row told once."""
    kinds = [type(event).__name__ for event in events]
    return [kind for kind, before in zip(kinds, [None, *kinds], strict=False) if kind != before]


def kill_all_of(home: Path) -> None:
    for process in processes.of(home):
        process.kill()


def end(home: Path) -> None:
    """Let the daemon end, as a service manager does."""
    for process in processes.of(home):
        process.terminate()
        process.wait(processes.WAIT_S)


async def _collect_all(events: AsyncGenerator[Event, None]) -> list[Event]:
    return [event async for event in events]


async def _collect(
    into: list[Event], events: AsyncGenerator[Event, None], each: Callable[[], object] = int
) -> None:
    async for event in events:
        into.append(event)
        each()


def _last(client: OblixClient, session_id: str) -> dict[str, Any]:
    session = client.load_session(session_id)
    assert session is not None
    return session["messages"][-1]


async def test_a_connection_that_is_cut_loses_and_repeats_nothing(
    relayed_client: OblixClient, relay: Relay, ollama: OllamaServer
) -> None:
    ollama.script(Answer(TEXT, tokens_per_second=400, reasoning="hm hm"))
    events: list[Event] = []
    async for event in relayed_client.stream("Count", on_disconnect="continue"):
        events.append(event)
        if isinstance(event, Delta) and len(events) % 40 == 0:
            relay.cut()
    assert relay.connections > 2
    assert kinds_of(events) == ["Started", "Delta", "Completed"]
    assert text_of(events) == f"hm hm{TEXT}"
    deltas = [event for event in events if isinstance(event, Delta)]
    assert [d.offset for d in deltas] == [
        sum(len(b.text.encode()) for b in deltas[:n]) for n in range(len(deltas))
    ]
    assert len(ollama.requests) == 1


async def test_cuts_at_any_byte_lose_and_repeat_nothing(
    relayed_client: OblixClient, relay: Relay, ollama: OllamaServer
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    # Whoever gets far at all gets a little farther: a health check takes about 100 bytes, a start 500.
    relay.cuts_after = lambda: chance.choice([None, chance.randrange(400, 6000)])
    for number in range(10):
        ollama.script(Answer(TEXT, tokens_per_second=5000))
        relay.cut()
        events = [event async for event in relayed_client.stream(f"Count {number}", on_disconnect="continue")]
        assert (text_of(events), kinds_of(events)) == (TEXT, ["Started", "Delta", "Completed"])
    assert len(ollama.requests) == 10


async def test_an_answer_that_began_anew_is_told_once(
    relayed_client: OblixClient, relay: Relay, ollama: OllamaServer
) -> None:
    with OllamaServer(["phi"]) as other:
        await relayed_client.hook_model("ollama", "phi", endpoint=other.url)
        ollama.script(Answer("one two three", fault=Cut(after=2)))
        other.script(Answer("vier fünf sechs sieben", fault=Stall(after=2)))
        events: list[Event] = []
        options = {"on_disconnect": "continue", "on_break": "restart"}
        stream = relayed_client.stream("Count", request_id="anew", **options)
        async for event in stream:
            events.append(event)
            if isinstance(event, Delta) and "fünf" in event.text:
                break
        relay.cut()
        await relayed_client.cancel("anew")
        events += [event async for event in stream]
    assert kinds_of(events) == ["Started", "Delta", "Rerouted", "Delta", "Completed"]
    again = next(place for place, event in enumerate(events) if isinstance(event, Rerouted))
    assert (text_of(events[:again]), text_of(events[again:])) == ("one two", "vier fünf")
    assert isinstance(events[-1], Completed)
    assert events[-1].finish_reason == "cancelled"


async def test_an_answer_that_a_lost_connection_cancelled_is_an_error(
    relayed_client: OblixClient, relay: Relay, ollama: OllamaServer
) -> None:
    ollama.script(Answer("one two three", fault=Stall(after=2)))
    session_id = await relayed_client.create_session()
    seen: list[Event] = []

    def cut_in_the_middle() -> None:
        if text_of(seen) == "one two":
            relay.cut()
            assert ollama.requests[-1].abandoned.wait(60)

    with pytest.raises(UnavailableError) as caught:
        await _collect(seen, relayed_client.stream("Count", session_id=session_id), cut_in_the_middle)
    assert caught.value.reason == "ANSWER_INTERRUPTED"
    assert caught.value.metadata["session_id"] == session_id
    assert "on_disconnect" in caught.value.message


async def test_others_attach_and_see_the_same(hooked_client: OblixClient, ollama: OllamaServer) -> None:
    ollama.script(Answer("one two three", tokens_per_second=50))
    first = hooked_client.stream("Count", request_id="shared", on_disconnect="continue")
    assert isinstance(await anext(first), Started)
    await first.aclose()
    both = await asyncio.gather(*(_collect_all(OblixClient().attach("shared")) for _ in range(2)))
    for events in both:
        assert kinds_of(events) == ["Started", "Delta", "Completed"]
        assert text_of(events) == "one two three"
    late = await _collect_all(hooked_client.attach("shared", offset=len("one two")))
    assert (kinds_of(late), text_of(late)) == (["Started", "Delta", "Completed"], " three")
    assert late[-1].response == both[0][-1].response


async def test_attaching_to_nothing_and_past_the_end_is_an_error(hooked_client: OblixClient) -> None:
    await hooked_client.execute("Hello", stream=False, request_id="short")
    with pytest.raises(NotFoundError):
        await _collect_all(hooked_client.attach("nobody"))
    with pytest.raises(InvalidArgumentError) as caught:
        await _collect_all(hooked_client.attach("short", offset=1000))
    assert caught.value.reason == "OFFSET_OUT_OF_RANGE"
    for wrong in (-1, True, "1", 2**63):
        with pytest.raises(InvalidArgumentError) as caught:
            await _collect_all(hooked_client.attach("short", offset=wrong))
        assert caught.value.metadata["field"] == "offset"
    with pytest.raises(InvalidArgumentError):
        await hooked_client.cancel("")


async def test_executions_are_listed_and_cancelled(hooked_client: OblixClient, ollama: OllamaServer) -> None:
    ollama.script(Answer("one two three", fault=Stall(after=2)))
    session_id = await hooked_client.create_session()
    running = hooked_client.stream(
        "Count", request_id="long", session_id=session_id, on_disconnect="continue"
    )
    async for event in running:
        if isinstance(event, Delta) and "two" in event.text:
            break
    waiting = hooked_client.stream("Wait", request_id="next", session_id=session_id)
    await anext(waiting)
    listed = {one["request_id"]: one for one in hooked_client.list_executions(session_id)}
    assert list(listed) == ["long", "next"]
    assert (listed["long"]["state"], listed["long"]["model_id"]) == ("running", "ollama:llama2")
    assert (listed["long"]["delta_bytes"], listed["long"]["attached_streams"]) == (7, 1)
    assert (listed["next"]["state"], listed["next"]["session_id"]) == ("queued", session_id)
    assert {"long", "next"} <= {one["request_id"] for one in hooked_client.list_executions()}

    assert (await hooked_client.cancel("long"))["state"] == "cancelled"
    assert await asyncio.to_thread(ollama.requests[0].abandoned.wait, 60)
    assert isinstance((await _collect_all(waiting))[-1], Completed)
    end = (await _collect_all(hooked_client.attach("long")))[-1]
    assert (end.finish_reason, end.response["response"]) == ("cancelled", "one two")
    assert (await hooked_client.cancel("long"))["state"] == "cancelled"
    with pytest.raises(NotFoundError):
        await hooked_client.cancel("nobody")


async def test_a_daemon_that_died_in_the_middle_is_started_again_and_says_what_is_kept(
    launching: OblixClient, ollama: OllamaServer, home: Path
) -> None:
    ollama.script(Answer(TEXT, tokens_per_second=500))
    session_id = await launching.create_session()
    seen: list[Event] = []

    def kill_in_the_middle() -> None:
        if len(seen) == 20:  # ahead of what is on disk
            kill_all_of(home)

    with pytest.raises(UnavailableError) as caught:
        await _collect(seen, launching.stream("Count", session_id=session_id), kill_in_the_middle)
    assert caught.value.reason == "EXECUTION_INTERRUPTED"
    assert caught.value.metadata["session_id"] == session_id
    assert kinds_of(seen) == ["Started", "Delta"]
    kept = _last(launching, session_id)
    assert (kept["role"], kept.get("status")) in {("user", None), ("assistant", "interrupted")}
    answer = kept["content"] if kept["role"] == "assistant" else ""
    assert caught.value.metadata["kept_bytes"] == str(len(answer.encode()))
    assert TEXT.startswith(answer)
    assert len(ollama.requests) == 1


async def test_an_answer_that_began_anew_is_interrupted_by_the_record_alone(
    launching: OblixClient, ollama: OllamaServer, home: Path
) -> None:
    with OllamaServer(["phi"]) as other:
        await launching.hook_model("ollama", "phi", endpoint=other.url)
        ollama.script(Answer("one two three", fault=Cut(after=2)))
        other.script(Answer("vier fünf sechs", fault=Stall(after=2)))
        session_id, seen = await launching.create_session(), list[Event]()
        options = {"session_id": session_id, "on_disconnect": "continue", "policy": "prefer-local"}
        answer = launching.stream("Count", on_break="restart", **options)
        task = asyncio.create_task(_collect(seen, answer))
        await eventually(lambda: text_of(seen).endswith("vier fünf"))
        await eventually(lambda: _last(launching, session_id)["content"] == "vier fünf")
        kill_all_of(home)
        with pytest.raises(UnavailableError) as caught:
            await task
    assert caught.value.reason == "EXECUTION_INTERRUPTED"
    assert caught.value.metadata["kept_bytes"] == str(len("vier fünf".encode()))
    assert kinds_of(seen) == ["Started", "Delta", "Rerouted", "Delta"]


async def test_a_reader_that_slept_over_a_restart_gets_the_rest_from_the_record(
    launching: OblixClient, ollama: OllamaServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oblix._transport.streams.MAX_WAITING", 1)
    text = " ".join(f"{number:0>4000}" for number in range(1000))  # more than a connection holds
    with OllamaServer(["phi"]) as other:
        await launching.hook_model("ollama", "phi", endpoint=other.url)
        ollama.script(Answer("one two three", fault=Cut(after=2)))
        other.script(text)
        options = {"policy": "prefer-local", "on_break": "restart", "on_disconnect": "continue"}
        session_id = await launching.create_session()
        stream = launching.stream("Count", session_id=session_id, **options)
        events = [await anext(stream)]
        await eventually(lambda: launching.list_executions()[0]["state"] == "completed")
        end(home)
        events += [event async for event in stream]
    assert processes.of(home), "nothing was asked of the next daemon"
    assert kinds_of(events) == ["Started", "Delta", "Rerouted", "Delta", "Completed"]
    again = next(place for place, event in enumerate(events) if isinstance(event, Rerouted))
    assert (text_of(events[:again]), text_of(events[again:])) == ("one two", text)


async def test_an_execution_of_a_session_is_attached_to_after_a_restart(
    launching: OblixClient, ollama: OllamaServer, home: Path
) -> None:
    ollama.script("one two three")
    session_id = await launching.create_session()
    answer = await launching.execute("Count", request_id="mine", session_id=session_id, stream=False)
    end(home)
    again = await launching.execute("Count", request_id="mine", session_id=session_id, stream=False)
    late = await _collect_all(launching.attach("mine", offset=len("one two")))
    assert (again["response"], text_of(late)) == (answer["response"], " three")
    assert len(ollama.requests) == 1
