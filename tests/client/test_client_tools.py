"""Tools, schemas and whole conversations from a program, against a real daemon and a model server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from oblix import Completed, Delta, InvalidArgumentError, ModelType, OblixClient
from oblix.testing import Answer, OpenAIServer, ToolCall

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PLAIN = {"name": "weather", "description": "Tells the weather.", "parameters": SCHEMA}
WRAPPED = {"type": "function", "function": PLAIN}
CALLS = (ToolCall("weather", {"city": "Bern"}, "c1"), ToolCall("weather", {"city": "Zürich"}, "c2"))
WEATHER = [
    {"call_id": "c1", "content": "Snow."},
    {"call_id": "c2", "content": "no such city", "is_error": True},
]


@pytest.fixture
async def openai(client: OblixClient) -> AsyncIterator[OpenAIServer]:
    """A model server that knows tool calls by their ids, hooked to the client."""
    with OpenAIServer(["m"]) as server:
        await client.hook_model(ModelType.CUSTOM, "m", endpoint=server.url, location="local")
        yield server


async def test_a_call_is_made_answered_and_kept(client: OblixClient, openai: OpenAIServer) -> None:
    openai.script(Answer("Let me see.", tool_calls=CALLS), "It snows.")
    await client.create_and_use_session()
    asked = await client.execute("Weather?", stream=False, tools=[WRAPPED], tool_choice="required")
    assert (asked["response"], asked["metrics"]["finish_reason"]) == ("Let me see.", "tool_calls")
    assert asked["tool_calls"] == [
        {
            "call_id": call.call_id,
            "name": "weather",
            "arguments": call.arguments,
            "arguments_json": "".join(call.pieces),
        }
        for call in CALLS
    ]
    answered = await client.execute(tool_results=WEATHER, tools=[PLAIN], stream=False)
    assert answered["response"] == "It snows."
    assert "tool_calls" not in answered
    first, second = (request.body for request in openai.requests)
    assert first["tools"] == second["tools"] == [WRAPPED]
    assert (first["tool_choice"], second.get("tool_choice")) == ("required", None)
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "tool", "tool"]
    assert [message["content"] for message in second["messages"][2:]] == ["Snow.", "no such city"]
    session = client.load_session(client.current_session_id)
    assert session is not None
    assert [part for message in session["messages"] for part in message.get("parts", ())][1] == {
        "tool_call": {"call_id": "c1", "name": "weather", "arguments_json": '{"city": "Bern"}'}
    }


async def test_calls_arrive_in_pieces(client: OblixClient, openai: OpenAIServer) -> None:
    openai.script(Answer("Well.", tool_calls=CALLS, tokens_per_second=200))
    events = [event async for event in client.stream("Weather?", tools=[PLAIN])]
    deltas = [event for event in events if isinstance(event, Delta)]
    joined: dict[tuple[str, str, str], str] = {}
    for delta in deltas:
        key = (delta.kind, delta.call_id, delta.name)
        joined[key] = joined.get(key, "") + delta.text
    assert joined == {
        ("text", "", ""): "Well.",
        ("tool_call", "c1", "weather"): '{"city": "Bern"}',
        ("tool_call", "c2", "weather"): '{"city": "Zürich"}',
    }
    assert isinstance(events[-1], Completed)
    assert events[-1].finish_reason == "tool_calls"


async def test_a_conversation_needs_no_session(client: OblixClient, openai: OpenAIServer) -> None:
    openai.script(Answer(tool_calls=CALLS[:1]))
    said: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
    ]
    asked = await client.execute(said, stream=False, tools=[PLAIN])
    said += [
        {"role": "assistant", "content": asked["response"], "tool_calls": asked["tool_calls"]},
        {"role": "tool", **WEATHER[0]},
        {"role": "user", "content": "So?"},
    ]
    assert (await client.execute(said, stream=False, tools=[PLAIN]))["response"] == "You said: So?"
    sent = openai.requests[-1].body["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool", "user"]
    assert sent[2]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Bern"}'}


BROKEN = '{"invalid_json": "{"}'


async def test_broken_arguments_are_sent_as_json_that_says_so(
    client: OblixClient, openai: OpenAIServer
) -> None:
    said = [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "tool_calls": [{"call_id": "c1", "name": "weather", "arguments": None, "arguments_json": "{"}],
        },
        {"role": "tool", "call_id": "c1", "content": "What?"},
    ]
    await client.execute(said, stream=False, tools=[PLAIN])
    assert openai.requests[-1].body["messages"][1]["tool_calls"][0]["function"]["arguments"] == BROKEN


async def test_a_schema_reaches_the_model(client: OblixClient, openai: OpenAIServer) -> None:
    await client.execute("Where?", stream=False, response_schema=SCHEMA)
    assert openai.requests[-1].body["response_format"]["json_schema"]["schema"] == SCHEMA


async def test_a_model_that_cannot_do_it_refuses(hooked_client: OblixClient) -> None:
    with pytest.raises(InvalidArgumentError, match="can't make a model call a tool") as caught:
        await hooked_client.execute("Hi", stream=False, tools=[PLAIN], tool_choice="required")
    assert caught.value.reason == "MODEL_REFUSED_REQUEST"


CALL = {"call_id": "c", "name": "n"}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"tools": PLAIN}, "tools"),
        ({"tools": [17]}, "tools[0]"),
        ({"tools": [{}]}, "tools[0].name"),
        ({"tools": [PLAIN, {"name": "a b"}]}, "tools[1].name"),
        ({"tools": [PLAIN | {"strict": True}]}, "tools[0]"),
        ({"tools": [{"type": "web_search", "function": PLAIN}]}, "tools[0].type"),
        ({"tools": [{"function": PLAIN | {"parameters": "{}"}}]}, "tools[0].function.parameters"),
        ({"tools": [PLAIN | {"parameters": {"a": {1}}}]}, "tools[0].parameters"),
        ({"tools": [PLAIN | {"parameters": {"a": float("nan")}}]}, "tools[0].parameters"),
        ({"tools": [PLAIN], "tool_choice": "weather"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_schema": "{}"}, "response_schema"),
        ({"tool_results": {"c1": "Snow."}}, "tool_results"),
        ({"tool_results": [{"call_id": "c1"}]}, "tool_results[0].content"),
        ({"tool_results": [WEATHER[0] | {"is_error": "yes"}]}, "tool_results[0].is_error"),
        ({"tool_results": [WEATHER[0] | {"name": "weather"}]}, "tool_results[0]"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["Hi"]}, "prompt[0]"),
        ({"prompt": [{"role": "robot"}]}, "prompt[0].role"),
        ({"prompt": [{"role": "user", "content": 1}]}, "prompt[0].content"),
        ({"prompt": [{"role": "user", "call_id": "c"}]}, "prompt[0]"),
        ({"prompt": [{"role": "assistant", "content": "Hi"}]}, "input"),
        (
            {"prompt": [{"role": "assistant", "tool_calls": [CALL | {"arguments": "{}"}]}]},
            "prompt[0].tool_calls[0].arguments",
        ),
    ],
)
async def test_bad_input_names_the_field(
    client: OblixClient, openai: OpenAIServer, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await client.execute(**{"prompt": "Hello", "stream": False} | arguments)
    assert caught.value.metadata["field"] == field
    assert openai.requests == []
