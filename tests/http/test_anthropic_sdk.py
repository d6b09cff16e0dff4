"""Anthropic's own client, unmodified, against the endpoint."""

from __future__ import annotations

import anthropic
import pytest
from anthropic.types import RawMessageStreamEvent
from oblix.testing import Answer, Cut, Refuse, ToolCall
from pydantic import TypeAdapter
from support.endpoint import MODEL, Served

ASK = [{"role": "user", "content": "hello"}]
TOOL = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
CALLS = (
    ToolCall("get_weather", {"city": "Bern"}, "call_1"),
    ToolCall("get_weather", {"city": "Genf"}, "call_2"),
)


def test_a_message_says_which_model_answered_and_what_it_took(shared_endpoint: Served) -> None:
    shared_endpoint.server.script(Answer("Good day.", input_tokens=7))
    done = shared_endpoint.anthropic().messages.create(
        model="auto", max_tokens=50, messages=ASK, system="Be short."
    )
    assert (done.content[0].text, done.model, done.stop_reason) == ("Good day.", MODEL, "end_turn")
    assert (done.usage.input_tokens, done.usage.output_tokens) == (7, 2)
    assert [one["role"] for one in shared_endpoint.server.requests[-1].body["messages"]] == ["system", "user"]


def test_each_event_is_one_of_the_sdk_s(shared_endpoint: Served) -> None:
    shared_endpoint.server.script(Answer("Thinking done.", reasoning="Let me see.", tool_calls=CALLS))
    body = {"model": MODEL, "max_tokens": 50, "messages": ASK, "stream": True, "tools": [TOOL]}
    with shared_endpoint.http().stream("POST", "/v1/messages", json=body) as reply:
        lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line.startswith("data: ")]
    events = [TypeAdapter(RawMessageStreamEvent).validate_json(line) for line in lines]
    assert (events[0].type, events[-1].type) == ("message_start", "message_stop")
    starts = [event.content_block.type for event in events if event.type == "content_block_start"]
    assert starts == ["thinking", "text", "tool_use", "tool_use"]


def test_tool_calls_go_there_and_back(shared_endpoint: Served) -> None:
    shared_endpoint.server.script(Answer("Let me look.", tool_calls=CALLS), "Sunny.")
    client = shared_endpoint.anthropic()
    with client.messages.stream(model=MODEL, max_tokens=50, messages=ASK, tools=[TOOL]) as stream:
        done = stream.get_final_message()
    assert [block.input for block in done.content if block.type == "tool_use"] == [
        {"city": "Bern"},
        {"city": "Genf"},
    ]
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": [{"type": "text", "text": "sun"}]}
        for block in done.content
        if block.type == "tool_use"
    ]
    content = [*results, {"type": "text", "text": "And now?"}]
    messages = [*ASK, {"role": "assistant", "content": done.content}, {"role": "user", "content": content}]
    client.messages.create(model=MODEL, max_tokens=50, messages=messages, tools=[TOOL])
    sent = shared_endpoint.server.requests[-1].body["messages"]
    assert [one["role"] for one in sent] == ["user", "assistant", "tool", "tool", "user"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Refuse(429, "slow down", headers={"Retry-After": "600"}), anthropic.RateLimitError),
        (Refuse(400, "bad parameter"), anthropic.BadRequestError),
    ],
    ids=["rate limit", "refused"],
)
def test_failures_raise_the_client_s_own_exceptions(
    fresh: Served, fault: Refuse, kind: type[anthropic.APIStatusError]
) -> None:
    fresh.server.script(*(Answer(fault=fault) for _ in range(5)))
    with pytest.raises(kind):
        fresh.anthropic().messages.create(model=MODEL, max_tokens=50, messages=ASK)


def test_an_answer_that_breaks_off_raises_inside_the_stream(fresh: Served) -> None:
    fresh.server.script(Answer("one two three four", fault=Cut(after=2)))
    with (
        pytest.raises(anthropic.APIError),
        fresh.anthropic().messages.stream(model=MODEL, max_tokens=50, messages=ASK) as stream,
    ):
        stream.get_final_message()


def test_tokens_are_counted_before_they_are_sent(shared_endpoint: Served) -> None:
    visits = len(shared_endpoint.server.requests)
    few = shared_endpoint.anthropic().messages.count_tokens(model="auto", messages=ASK)
    long = [{"role": "user", "content": "hello " * 100}]
    many = shared_endpoint.anthropic().messages.count_tokens(model="auto", messages=long, tools=[TOOL])
    assert few.input_tokens < 20
    assert many.input_tokens > 100
    assert len(shared_endpoint.server.requests) == visits


def test_a_system_message_behind_the_question_is_read_before_it(shared_endpoint: Served) -> None:
    client = shared_endpoint.anthropic()
    reminder = {"role": "system", "content": "There are agents."}
    call = {"type": "tool_use", "id": "c1", "name": "get_weather", "input": {}}
    called = [*ASK, {"role": "assistant", "content": [call]}]
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "sun"}]}
    for messages, roles in (
        ([*ASK, reminder], ["system", "user"]),
        ([*called, result, reminder], ["user", "system", "assistant", "tool"]),
    ):
        shared_endpoint.server.script("Fine.")
        client.messages.create(model=MODEL, max_tokens=50, messages=messages, tools=[TOOL])
        assert [one["role"] for one in shared_endpoint.server.requests[-1].body["messages"]] == roles
        assert client.messages.count_tokens(model=MODEL, messages=messages, tools=[TOOL]).input_tokens
