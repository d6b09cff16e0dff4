"""Prompts of a client, against a real daemon and a model server."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from oblix import (
    Completed,
    Delta,
    Event,
    FailedPreconditionError,
    NotFoundError,
    OblixClient,
    Queued,
    Started,
    UnavailableError,
)
from oblix.testing import Answer, Cut, OllamaServer, Stall
from support.drivers.waiting import eventually

RESPONSE = {"request_id", "model_id", "response", "metrics", "routing_decision", "agent_checks"}


async def test_a_response_has_the_documented_shape(hooked_client: OblixClient, ollama: OllamaServer) -> None:
    ollama.script("Forty-two.")
    response = await hooked_client.execute("What is the answer?", display_metrics=False)
    assert set(response) == RESPONSE
    assert (response["model_id"], response["response"]) == ("ollama:llama2", "Forty-two.")
    assert {"time_to_first_token", "tokens_per_second", "latency", "input_tokens", "output_tokens"} <= set(
        response["metrics"]
    )
    assert response["metrics"]["finish_reason"] == "stop"
    assert 0 < response["metrics"]["time_to_first_token"] <= response["metrics"]["latency"]
    # Older programs go through the decisions like this.
    for name, details in response["routing_decision"].items():
        assert name.endswith("_routing")
        assert {"state", "target", "reason"} <= set(details)
    assert set(response["routing_decision"]) >= {"resource_routing", "connectivity_routing"}
    assert json.dumps(response, allow_nan=False)


async def test_it_is_recorded_in_the_named_or_the_current_session(hooked_client: OblixClient) -> None:
    named, current = await hooked_client.create_session(), await hooked_client.create_session()
    hooked_client.current_session_id = current
    await hooked_client.execute("One", session_id=named, stream=False)
    await hooked_client.execute("Two", stream=False)
    for session_id, said in ((named, "One"), (current, "Two")):
        session = hooked_client.load_session(session_id)
        assert session is not None
        assert [(m["role"], m["content"]) for m in session["messages"]] == [
            ("user", said),
            ("assistant", f"You said: {said}"),
        ]
        assert session["messages"][1]["model"] == "ollama:llama2"


async def test_without_a_session_nothing_is_recorded(hooked_client: OblixClient) -> None:
    count = len(hooked_client.list_sessions(limit=1000))
    await hooked_client.execute("Hello", stream=False)
    assert len(hooked_client.list_sessions(limit=1000)) == count


async def test_the_history_goes_along(hooked_client: OblixClient, ollama: OllamaServer) -> None:
    await hooked_client.create_and_use_session(initial_context={"system": "Be brief."})
    await hooked_client.execute("One", stream=False)
    await hooked_client.execute("Two", stream=False)
    sent = [(m["role"], m["content"]) for m in ollama.requests[-1].body["messages"]]
    assert sent == [
        ("system", "Be brief."),
        ("user", "One"),
        ("assistant", "You said: One"),
        ("user", "Two"),
    ]


async def test_stream_writes_the_answer_and_a_line_about_it(
    hooked_client: OblixClient, capsys: pytest.CaptureFixture[str]
) -> None:
    await hooked_client.execute("Hello")
    answer, line, rest = capsys.readouterr().out.split("\n")
    assert (answer, rest) == ("You said: Hello", "")
    assert line.startswith("[ollama:llama2, first token after ")
    await hooked_client.execute("Hello", display_metrics=False)
    assert capsys.readouterr().out == "You said: Hello\n"


async def test_without_stream_nothing_is_written(
    hooked_client: OblixClient, capfd: pytest.CaptureFixture[str]
) -> None:
    await hooked_client.execute("Hello", stream=False)
    assert capfd.readouterr() == ("", "")


async def test_the_answer_is_written_as_it_arrives(
    hooked_client: OblixClient, ollama: OllamaServer, capsys: pytest.CaptureFixture[str]
) -> None:
    ollama.script(Answer("first second", fault=Stall(after=1)))
    task = asyncio.create_task(hooked_client.execute("Hello"))
    written = ""

    def is_written() -> bool:
        nonlocal written
        written += capsys.readouterr().out
        return "first" in written

    await eventually(is_written)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_events_come_in_order(hooked_client: OblixClient, ollama: OllamaServer) -> None:
    ollama.script(Answer("one two three", reasoning="hm hm"))
    session_id = await hooked_client.create_session()
    events: list[Event] = [event async for event in hooked_client.stream("Count.", session_id=session_id)]
    started, *deltas, completed = events
    assert isinstance(started, Started)
    assert (started.session_id, started.model_id) == (session_id, "ollama:llama2")
    assert isinstance(completed, Completed)
    assert (completed.session_id, completed.finish_reason) == (session_id, "stop")
    assert completed.response["response"] == "one two three"
    assert completed.request_id == started.request_id == completed.response["request_id"]
    assert all(isinstance(delta, Delta) for delta in deltas)
    texts = {kind: "".join(d.text for d in deltas if d.kind == kind) for kind in ("text", "reasoning")}
    assert texts == {"text": "one two three", "reasoning": "hm hm"}
    assert [d.offset for d in deltas] == [sum(len(b.text) for b in deltas[:n]) for n in range(len(deltas))]


async def test_an_unknown_session_is_an_error(hooked_client: OblixClient) -> None:
    with pytest.raises(NotFoundError) as caught:
        await hooked_client.execute("Hello", session_id="nobody", stream=False)
    assert caught.value.reason == "SESSION_NOT_FOUND"


async def test_the_same_request_id_gives_the_same_answer(
    hooked_client: OblixClient, ollama: OllamaServer
) -> None:
    ollama.script("Once.", "Twice.")
    session_id = await hooked_client.create_session()
    first = await hooked_client.execute("Hello", request_id="my-id", session_id=session_id, stream=False)
    again = await hooked_client.execute("Hello", request_id="my-id", session_id=session_id, stream=False)
    assert (first["response"], again["response"], again["request_id"]) == ("Once.", "Once.", "my-id")


async def test_a_model_that_cannot_be_reached_keeps_the_question(client: OblixClient) -> None:
    with OllamaServer(["llama2"]) as gone:
        url = gone.url
    assert await client.hook_model("ollama", "llama2", endpoint=url) is True
    session_id = await client.create_session()
    with pytest.raises(UnavailableError) as caught:
        await client.execute("Hello", session_id=session_id, stream=False)
    assert caught.value.reason == "MODEL_UNREACHABLE"
    assert url in caught.value.message
    session = client.load_session(session_id)
    assert session is not None
    assert session["messages"][0]["content"] == "Hello"


async def test_a_broken_answer_is_an_error_and_its_part_is_kept(
    hooked_client: OblixClient, ollama: OllamaServer, capsys: pytest.CaptureFixture[str]
) -> None:
    ollama.script(Answer("one two three", fault=Cut(after=2)))
    session_id = await hooked_client.create_session()
    with pytest.raises(UnavailableError):
        await hooked_client.execute("Hello", session_id=session_id)
    assert capsys.readouterr().out.startswith("one two")
    session = hooked_client.load_session(session_id)
    assert session is not None
    assert session["messages"][1]["content"] == "one two"
    assert session["messages"][1]["status"] == "failed"


async def test_cancelling_the_task_frees_the_model_and_keeps_the_part(
    hooked_client: OblixClient, ollama: OllamaServer
) -> None:
    ollama.script(Answer("one two three", fault=Stall(after=2)))
    session_id = await hooked_client.create_session()
    events = hooked_client.stream("Hello", session_id=session_id)
    async for event in events:
        if isinstance(event, Delta) and "two" in event.text:
            break
    await events.aclose()
    assert await asyncio.to_thread(ollama.requests[-1].abandoned.wait, 60)

    def answer() -> tuple[str, str | None]:
        session = hooked_client.load_session(session_id)
        assert session is not None
        return session["messages"][-1]["content"], session["messages"][-1].get("status")

    await eventually(lambda: answer() == ("one two", "cancelled"))


async def test_prompts_of_one_session_wait_for_each_other(
    hooked_client: OblixClient, ollama: OllamaServer
) -> None:
    ollama.script(Answer("one two", fault=Stall(after=1)))
    session_id = await hooked_client.create_session()
    first = hooked_client.stream("First", session_id=session_id)
    assert isinstance(await anext(first), Started)
    second = hooked_client.stream("Second", session_id=session_id, request_id="second")
    assert await anext(second) == Queued("second", 1)
    await eventually(lambda: ollama.requests)  # it is the first one's: what is scripted comes once
    await first.aclose()
    rest = [event async for event in second]
    assert isinstance(rest[-1], Completed)
    assert rest[-1].response["response"] == "You said: Second"


async def test_an_answer_can_go_on_without_its_program(
    hooked_client: OblixClient, ollama: OllamaServer
) -> None:
    ollama.script(Answer("one two three", tokens_per_second=30))
    session_id = await hooked_client.create_session()
    events = hooked_client.stream("Hello", session_id=session_id, on_disconnect="continue")
    async for event in events:
        if isinstance(event, Delta):
            break
    await events.aclose()

    def answer() -> tuple[str, str | None]:
        session = hooked_client.load_session(session_id)
        assert session is not None
        return session["messages"][-1]["content"], session["messages"][-1].get("status")

    await eventually(lambda: answer() == ("one two three", None))


async def test_a_pin_beats_the_routing(hooked_client: OblixClient, ollama: OllamaServer) -> None:
    ollama.models.append("phi")
    await hooked_client.hook_model("ollama", "phi", endpoint=ollama.url)
    assert (await hooked_client.execute("Hello", stream=False, model="ollama:phi"))[
        "model_id"
    ] == "ollama:phi"
    assert (await hooked_client.execute("Hello", stream=False, model_id="ollama:phi"))[
        "model_id"
    ] == "ollama:phi"
    with pytest.raises(FailedPreconditionError):
        await hooked_client.execute("Hello", stream=False, model="ollama:unknown")


async def test_local_only_refuses_the_cloud(client: OblixClient, ollama: OllamaServer) -> None:
    await client.hook_model("ollama", "llama2", endpoint=ollama.url, location="cloud")
    with pytest.raises(FailedPreconditionError) as caught:
        await client.execute("Hello", stream=False, local_only=True)
    assert caught.value.reason == "NO_MODEL_ALLOWED"
    session_id = await client.create_session(local_only=True)
    with pytest.raises(FailedPreconditionError):
        await client.execute("Hello", stream=False, session_id=session_id)
    assert ollama.requests == []


async def test_many_deltas_arrive_whole_in_a_slow_loop(
    hooked_client: OblixClient, ollama: OllamaServer
) -> None:
    text = " ".join(str(n) for n in range(5000))
    ollama.script(text)
    received = ""
    async for event in hooked_client.stream("Count."):
        if isinstance(event, Delta):
            received += event.text
            time.sleep(0.0005)  # noqa: ASYNC251 - a loop that is busy is what this is about
    assert received == text
