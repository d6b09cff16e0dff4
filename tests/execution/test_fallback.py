"""Retry, fallback, cooldown and restart, seen from a client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from oblix.testing import Answer, Cut, OllamaServer, Refuse
from oblix.v1 import executions_pb2, messages_pb2
from support.drivers.events import error_of
from support.drivers.execution import CLIENT, Harness, prompt

from oblixd.errors import InvalidArgumentError, ResourceExhaustedError, UnavailableError
from oblixd.models import hook_spec


@pytest.fixture
def other() -> Iterator[OllamaServer]:
    with OllamaServer(["llama2"]) as server:
        yield server


async def collect_events(
    harness: Harness, request: executions_pb2.ExecuteRequest
) -> list[executions_pb2.ExecuteResponse]:
    return [event async for event in harness.executions.execute(request)]


def shown_text(events: list[executions_pb2.ExecuteResponse]) -> str:
    """What somebody who follows the rules sees: a reroute forgets what came before."""
    text = ""
    for event in events:
        kind = event.WhichOneof("event")
        text = "" if kind == "rerouted" else text + event.delta.text
    return text


async def test_the_same_model_is_tried_again_where_the_failure_may_pass(
    harness: Harness, server: OllamaServer
) -> None:
    server.script(
        Answer(fault=Refuse(503)), Answer(fault=Refuse(429, headers={"Retry-After": "0"})), "Third."
    )
    events = await collect_events(harness, prompt("Hi", harness.hook(server)))
    failed = events[-1].completed.failed_attempts
    assert shown_text(events) == "Third."
    assert [(one.reason, one.retried) for one in failed] == [
        ("MODEL_OVERLOADED", True),
        ("MODEL_RATE_LIMITED", True),
    ]


async def test_a_wait_beyond_the_budget_is_an_error_at_once(harness: Harness, server: OllamaServer) -> None:
    server.script(Answer(fault=Refuse(429, headers={"Retry-After": "3600"})))
    with pytest.raises(ResourceExhaustedError) as failed:
        await collect_events(harness, prompt("Hi", harness.hook(server)))
    assert failed.value.reason == "MODEL_RATE_LIMITED"
    assert len(server.requests) == 1


async def test_a_model_that_cools_down_goes_last_and_is_still_tried(
    harness: Harness, server: OllamaServer, other: OllamaServer
) -> None:
    server.script(Answer(fault=Refuse(429, headers={"Retry-After": "3600"})))
    handles = (harness.hook(server), harness.hook(other))
    await collect_events(harness, prompt("Hi", *handles))
    decision = harness.executions.explain(prompt("Hi", *handles))
    assert [candidate.handle for candidate in decision.candidates] == [handles[1], handles[0]]
    assert "cools down" in decision.candidates[1].reason
    events = await collect_events(harness, prompt("Hi", handles[0]))
    assert shown_text(events) == "You said: Hi", "the only one is never left alone"


async def test_an_answer_that_breaks_off_begins_anew_where_that_was_asked_for(
    harness: Harness, server: OllamaServer, other: OllamaServer
) -> None:
    session = await harness.session()
    server.script(Answer("one two three", fault=Cut(after=2)))
    other.script("1 2 3")
    handles = (harness.hook(server), harness.hook(other))
    request = prompt("Count", *handles, session_id=session, on_break=executions_pb2.ON_BREAK_RESTART)
    events = await collect_events(harness, request)
    rerouted = next(event.rerouted for event in events if event.HasField("rerouted"))
    assert (rerouted.from_model, rerouted.reason) == ("ollama:llama2", "MODEL_STREAM_BROKEN")
    assert shown_text(events) == events[-1].completed.message.parts[0].text == "1 2 3"
    assert harness.messages_of(session)[1] == (
        messages_pb2.ROLE_ASSISTANT,
        "1 2 3",
        messages_pb2.MESSAGE_STATUS_COMPLETE,
    )
    assert harness.sessions.get(session).message_count == 2


async def test_without_a_next_model_the_part_is_kept(harness: Harness, server: OllamaServer) -> None:
    session = await harness.session()
    server.script(Answer("one two three", fault=Cut(after=2)))
    request = prompt(
        "Count", harness.hook(server), session_id=session, on_break=executions_pb2.ON_BREAK_RESTART
    )
    with pytest.raises(UnavailableError):
        await collect_events(harness, request)
    assert harness.messages_of(session)[1][1:] == ("one two", messages_pb2.MESSAGE_STATUS_FAILED)


async def test_a_model_whose_window_holds_the_conversation_goes_first_where_that_is_asked_for(
    harness: Harness, server: OllamaServer, other: OllamaServer
) -> None:
    session = await harness.session()
    long = "word " * 200
    short, longer = (
        harness.registry.hook(
            CLIENT, hook_spec.spec_of("ollama", "llama2", endpoint=one.url, options={"num_ctx": size})
        )
        for one, size in ((server, 256), (other, 8192))
    )
    handles = (short.handle, longer.handle)
    request = prompt(long, *handles, session_id=session, context_policy=executions_pb2.CONTEXT_POLICY_LONGER)
    events = await collect_events(harness, request)
    assert [one.handle for one in events[0].started.decision.candidates] == [longer.handle, short.handle]
    assert len(other.requests) == 1


async def test_a_local_name_for_a_hosted_model_gets_nothing_of_a_local_only_session(harness: Harness) -> None:
    with OllamaServer([], remote=["mine"]) as server:
        session, handle = await harness.session(local_only=True), harness.hook(server, "mine")
        with pytest.raises(InvalidArgumentError) as refused:
            await collect_events(harness, prompt("A secret", handle, session_id=session))
        assert refused.value.reason == "MODEL_REFUSED_REQUEST"
        assert [request.path for request in server.calls] == ["/api/show"]
        assert shown_text(await collect_events(harness, prompt("No secret", handle))) == "You said: No secret"


async def test_an_error_counts_models_and_not_tries(harness: Harness, server: OllamaServer) -> None:
    request = prompt("Hi", harness.hook(server))
    server.script(*[Answer("never", fault=Refuse(500))] * 3)
    alone = await error_of(harness.executions.execute(request), UnavailableError)
    assert "None of" not in alone.message
    assert "It was tried 3 times." in alone.message
    server.script(*[Answer("never", fault=Refuse(500))] * 6)
    both = prompt("Hi", harness.hook(server), harness.hook(server, "other"))
    server.models.append("other")
    error = await error_of(harness.executions.execute(both), UnavailableError)
    assert error.message.startswith("None of 2 models answered. ollama:")
