"""Tool calls from the prompt to the record, through every provider's wire format."""

from __future__ import annotations

import json

import pytest
from oblix.testing import Answer, Cut, ModelServer, OllamaServer, ToolCall
from oblix.v1 import executions_pb2, messages_pb2
from support.drivers.events import all_of
from support.drivers.execution import CLIENT, Harness, prompt
from support.servers.providers import KINDS

from oblixd.errors import InvalidArgumentError, UnavailableError
from oblixd.execution import answer as answers
from oblixd.execution.event_log import EventLog
from oblixd.models import base

CALL = ToolCall("weather", {"city": "Bern"}, "c1")
TOOLS = [executions_pb2.ToolDefinition(name="weather", description="Tells the weather.")]
ANSWER = Answer("Let me see.", reasoning="Hm.", tool_calls=(CALL,))


def hook(harness: Harness, provider: str, server: ModelServer) -> str:
    return harness.registry.hook(CLIENT, KINDS[provider].spec(server.url)).handle


def result_of(call_id: str, *candidates: str, **fields: object) -> executions_pb2.ExecuteRequest:
    result = messages_pb2.ToolResultPart(call_id=call_id, content="Snow.")
    part = messages_pb2.Part(tool_result=result)
    given = messages_pb2.Message(role=messages_pb2.ROLE_TOOL, parts=[part])
    return executions_pb2.ExecuteRequest(input=[given], candidates=candidates, **fields)


@pytest.mark.parametrize("provider", KINDS)
async def test_a_call_is_streamed_recorded_and_answered(harness: Harness, provider: str) -> None:
    session = await harness.session()
    with KINDS[provider].server() as server:
        handle = hook(harness, provider, server)
        server.script(ANSWER, "It snows.")
        events = await all_of(
            harness.executions.execute(prompt("Weather?", handle, session_id=session, tools=TOOLS))
        )
        *_, completed = (event.completed for event in events)
        reasoning, text, call = completed.message.parts
        assert (reasoning.reasoning, text.text) == ("Hm.", "Let me see.")
        assert call.tool_call.name == "weather"
        assert json.loads(call.tool_call.arguments_json) == {"city": "Bern"}
        assert completed.finish_reason == executions_pb2.FINISH_REASON_TOOL_CALLS
        deltas = [event.delta for event in events if event.delta.kind == executions_pb2.DELTA_KIND_TOOL_CALL]
        assert "".join(delta.text for delta in deltas) == call.tool_call.arguments_json
        heads = {(delta.tool_call.call_id, delta.tool_call.name) for delta in deltas}
        assert heads == {(call.tool_call.call_id, "weather")}
        recorded, _ = harness.sessions.messages(session, page_size=0, page_token="", newest_first=False)
        assert recorded[1].parts[2] == call
        answer = result_of(call.tool_call.call_id, handle, session_id=session, tools=TOOLS)
        *_, completed = (event.completed for event in await all_of(harness.executions.execute(answer)))
        assert completed.message.parts[0].text == "It snows."
        sent = str(server.requests[-1].body)
        assert "Snow." in sent
        # Its own reasoning goes back to a model with the call, where the format has a place for it.
        assert ("Hm." in sent) is (provider != "claude")


async def test_a_call_goes_on_at_another_provider(harness: Harness, server: OllamaServer) -> None:
    """Made by Ollama, which has no ids, answered by Claude, which refuses calls without an answer."""
    session = await harness.session()
    server.script(Answer(tool_calls=(CALL, ToolCall("time"))))
    asked = prompt("Weather?", harness.hook(server), session_id=session, tools=TOOLS)
    *_, completed = (event.completed for event in await all_of(harness.executions.execute(asked)))
    first, _ = (part.tool_call.call_id for part in completed.message.parts)
    with KINDS["claude"].server() as other:
        answer = result_of(first, hook(harness, "claude", other), session_id=session, tools=TOOLS)
        *_, completed = (event.completed for event in await all_of(harness.executions.execute(answer)))
        assert completed.message.model.startswith("claude:")


async def test_a_model_that_cannot_be_made_to_call_is_passed_over(
    harness: Harness, server: OllamaServer
) -> None:
    with KINDS["custom"].server() as other:
        other.script(ANSWER)
        handles = (harness.hook(server), hook(harness, "custom", other))
        request = prompt("Weather?", *handles, tools=TOOLS, tool_choice=executions_pb2.TOOL_CHOICE_REQUIRED)
        *_, completed = (event.completed for event in await all_of(harness.executions.execute(request)))
    assert [failed.reason for failed in completed.failed_attempts] == ["MODEL_REFUSED_REQUEST"]
    assert completed.message.model == "custom:gpt-4o-mini"
    assert not server.requests, "it is refused before it is sent"
    alone = prompt("Weather?", handles[0], tools=TOOLS, tool_choice=executions_pb2.TOOL_CHOICE_REQUIRED)
    with pytest.raises(InvalidArgumentError, match="can't make a model call a tool"):
        await all_of(harness.executions.execute(alone))


async def test_half_a_call_is_not_kept(harness: Harness) -> None:
    session = await harness.session()
    with KINDS["openai"].server() as server:
        server.script(Answer("Well.", tool_calls=(CALL,), fault=Cut(after=3)))
        request = prompt("Weather?", hook(harness, "openai", server), session_id=session, tools=TOOLS)
        with pytest.raises(UnavailableError):
            await all_of(harness.executions.execute(request))
    recorded, _ = harness.sessions.messages(session, page_size=0, page_token="", newest_first=False)
    assert [part.WhichOneof("kind") for part in recorded[1].parts] == ["text"]


def test_calls_that_are_written_at_the_same_time_are_kept_whole() -> None:
    answer = answers.Answer(EventLog(), None)
    first, second = base.ToolCall("a", "weather"), base.ToolCall("b", "time")
    for call, text in ((first, "{"), (second, "{"), (first, "}"), (second, "}")):
        answer.add(base.Content(base.ContentKind.TOOL_CALL, text, call))
    calls = [part.tool_call for part in answer.parts(whole=True)]
    assert [(call.call_id, call.name, call.arguments_json) for call in calls] == [
        ("a", "weather", "{}"),
        ("b", "time", "{}"),
    ]
    assert answer.size == 4
    assert answer.parts(whole=False) == []


async def test_a_schema_goes_to_the_model(harness: Harness, server: OllamaServer) -> None:
    options = executions_pb2.GenerationOptions(response_schema='{"type":"object"}')
    await all_of(harness.executions.execute(prompt("Where?", harness.hook(server), options=options)))
    assert server.requests[-1].body["format"] == {"type": "object"}


@pytest.mark.parametrize(
    ("text", "words"), [('{"n": 3}', ""), ('{"n": 4}', '["n"]'), ("Sure", "no JSON"), ('{"n": ', "no JSON")]
)
async def test_an_answer_is_held_against_its_schema(harness: Harness, text: str, words: str) -> None:
    session = await harness.session()
    schema = json.dumps({"properties": {"n": {"multipleOf": 3}}})
    with KINDS["openai"].server() as server:
        server.script(text)
        given = prompt("A number", hook(harness, "openai", server), session_id=session, request_id="r")
        given.options.response_schema = schema
        *_, completed = (event.completed for event in await all_of(harness.executions.execute(given)))
        assert words in completed.schema_violation
        assert bool(completed.schema_violation) == bool(words)
        assert completed.message.parts[0].text == text
        *_, again = (event.completed for event in await all_of(harness.executions.execute(given)))
        assert again.schema_violation == completed.schema_violation, "told again"
        assert len(server.requests) == 1
