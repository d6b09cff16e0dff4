"""OpenAI's own client, unmodified, against the endpoint."""

from __future__ import annotations

import json

import openai
import pytest
from oblix.testing import Answer, Cut, Refuse, ToolCall
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from support.endpoint import MODEL, Served

ASK = [{"role": "user", "content": "hello"}]
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CALLS = (
    ToolCall("get_weather", {"city": "Bern"}, "call_1"),
    ToolCall("get_weather", {"city": "Genf"}, "call_2"),
)
FUNCTION = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}


def test_a_completion_says_which_model_answered_and_what_it_took(shared_endpoint: Served) -> None:
    shared_endpoint.server.script(Answer("Good day.", input_tokens=7))
    done = shared_endpoint.openai().chat.completions.create(model="auto", messages=ASK)
    assert done.choices[0].message.content == "Good day."
    assert (done.model, done.choices[0].finish_reason) == (MODEL, "stop")
    assert done.usage
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (7, 2)


def test_a_streamed_completion_is_whole_and_ends_with_its_usage(shared_endpoint: Served) -> None:
    text = " ".join(f"word{number}" for number in range(500))
    shared_endpoint.server.script(Answer(text))
    chunks = list(
        shared_endpoint.openai().chat.completions.create(
            model=MODEL, messages=ASK, stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 500


def test_parallel_tool_calls_go_there_and_back(shared_endpoint: Served) -> None:
    shared_endpoint.server.script(Answer(tool_calls=CALLS), "Sunny.")
    client = shared_endpoint.openai()
    with client.chat.completions.stream(model=MODEL, messages=ASK, tools=[FUNCTION]) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls
    assert [json.loads(call.function.arguments) for call in message.tool_calls] == [
        {"city": "Bern"},
        {"city": "Genf"},
    ]
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sun"} for call in message.tool_calls]
    messages = [*ASK, message.model_dump(exclude_none=True), *results]
    done = client.chat.completions.create(model=MODEL, messages=messages, tools=[FUNCTION])
    assert done.choices[0].message.content == "Sunny."
    sent = shared_endpoint.server.requests[-1].body["messages"]
    assert [one["role"] for one in sent] == ["user", "assistant", "tool", "tool"]


def test_a_named_tool_is_the_only_one_and_must_be_called(shared_endpoint: Served) -> None:
    shared_endpoint.server.script(Answer(tool_calls=CALLS[:1]))
    other = {"type": "function", "function": {"name": "other", "parameters": {"type": "object"}}}
    shared_endpoint.openai().chat.completions.create(
        model=MODEL,
        messages=ASK,
        tools=[other, FUNCTION],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    )
    body = shared_endpoint.server.requests[-1].body
    assert [tool["function"]["name"] for tool in body["tools"]] == ["get_weather"]
    assert body["tool_choice"] == "required"


def test_a_schema_and_the_options_reach_the_model(shared_endpoint: Served) -> None:
    shared_endpoint.server.script(Answer('{"city":"Bern"}'))
    shared_endpoint.openai().chat.completions.create(
        model=MODEL,
        messages=ASK,
        temperature=0.5,
        top_p=0.9,
        seed=7,
        max_completion_tokens=30,
        stop=["END"],
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": WEATHER}},
    )
    body = shared_endpoint.server.requests[-1].body
    assert (body["temperature"], body["top_p"], body["seed"], body["stop"]) == (0.5, 0.9, 7, ["END"])
    assert body["response_format"]["json_schema"]["schema"] == WEATHER


def test_an_image_reaches_the_model(shared_endpoint: Served) -> None:
    shared_endpoint.server.script("A cat.")
    url = "data:image/png;base64,aGVsbG8="
    content = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    shared_endpoint.openai().chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": content}]
    )
    assert shared_endpoint.server.requests[-1].body["messages"][0]["content"][1]["image_url"]["url"] == url


@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        (Refuse(429, "slow down", headers={"Retry-After": "600"}), openai.RateLimitError, 429),
        (Refuse(400, "bad parameter"), openai.BadRequestError, 400),
        (Refuse(401, "wrong key"), openai.PermissionDeniedError, 403),
    ],
    ids=["rate limit", "refused", "key behind it"],
)
def test_failures_raise_the_client_s_own_exceptions(
    fresh: Served, fault: Refuse, kind: type[openai.APIStatusError], status: int
) -> None:
    fresh.server.script(*(Answer(fault=fault) for _ in range(5)))
    with pytest.raises(kind) as caught:
        fresh.openai().chat.completions.create(model=MODEL, messages=ASK, stream=True)
    assert caught.value.status_code == status


def test_an_answer_that_breaks_off_raises_inside_the_stream(fresh: Served) -> None:
    fresh.server.script(Answer("one two three four", fault=Cut(after=2)))
    stream = fresh.openai().chat.completions.create(model=MODEL, messages=ASK, stream=True)
    with pytest.raises(openai.APIError):
        list(stream)


def test_an_unknown_model_names_the_nearest(shared_endpoint: Served) -> None:
    with pytest.raises(openai.NotFoundError, match="openai:small") as caught:
        shared_endpoint.openai().chat.completions.create(model="openai:smal", messages=ASK)
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("field", ["n", "logprobs", "frequency_penalty"])
def test_a_field_that_can_not_be_honoured_is_named(shared_endpoint: Served, field: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        shared_endpoint.openai().chat.completions.create(model=MODEL, messages=ASK, extra_body={field: 2})
    assert caught.value.param == field


def test_aliases_are_models(shared_endpoint: Served) -> None:
    shared_endpoint.server.script("Yes.")
    assert "gpt-4o" in [model.id for model in shared_endpoint.openai().models.list()]
    done = shared_endpoint.openai().chat.completions.create(model="gpt-4o", messages=ASK)
    assert done.model == MODEL


def test_each_event_of_a_response_is_one_of_the_sdk_s(shared_endpoint: Served) -> None:
    shared_endpoint.server.script(Answer("Thinking done.", reasoning="Let me see.", tool_calls=CALLS))
    tool = {"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": False}
    body = {"model": MODEL, "input": "hello", "stream": True, "tools": [tool]}
    event_type = TypeAdapter(ResponseStreamEvent)
    with shared_endpoint.http().stream("POST", "/v1/responses", json=body) as reply:
        events = [line.removeprefix("data: ") for line in reply.iter_lines() if line.startswith("data: ")]
    parsed = [event_type.validate_json(event) for event in events]
    assert [event.sequence_number for event in parsed] == list(range(len(parsed)))
    kinds = [event.type for event in parsed]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    done = parsed[-1].response
    assert [item.type for item in done.output] == ["reasoning", "message", "function_call", "function_call"]
    first_done = kinds.index("response.output_item.done")
    assert not any("delta" in kind for kind in kinds[first_done:]), "an item is done only with the response"


def test_a_response_is_built_by_the_client_from_its_events(shared_endpoint: Served) -> None:
    shared_endpoint.server.script(Answer("Good day.", tool_calls=CALLS[:1]))
    tool = {"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": False}
    with shared_endpoint.openai().responses.stream(model=MODEL, input="hello", tools=[tool]) as stream:
        done = stream.until_done().get_final_response()
    assert done.output_text == "Good day."
    assert json.loads(done.output[1].arguments) == {"city": "Bern"}


def test_a_response_at_once_has_the_sdk_s_fields(shared_endpoint: Served) -> None:
    shared_endpoint.server.script("Good day.")
    body = {"model": MODEL, "input": [{"role": "user", "content": "hello"}], "instructions": "Be short."}
    reply = shared_endpoint.http().post("/v1/responses", json=body)
    assert Response.model_validate_json(reply.content).output_text == "Good day."
    assert [one["role"] for one in shared_endpoint.server.requests[-1].body["messages"]] == ["system", "user"]


def test_a_tool_in_a_namespace_comes_back_in_it(shared_endpoint: Served) -> None:
    shared_endpoint.server.script(Answer(tool_calls=(ToolCall("crm__find", {"city": "Bern"}, "call_1"),)))
    find = {"type": "function", "name": "find", "parameters": WEATHER}
    tools = [{"type": "namespace", "name": "crm", "description": "Customers.", "tools": [find]}]
    done = shared_endpoint.openai().responses.create(model=MODEL, input="hello", tools=tools)
    call = done.output[0]
    assert (call.namespace, call.name) == ("crm", "find")
    shared_endpoint.server.script("Found.")
    items = [{"role": "user", "content": "hello"}, call.model_dump(), _result(call.call_id)]
    shared_endpoint.openai().responses.create(model=MODEL, input=items, tools=tools)
    sent = shared_endpoint.server.requests[-1].body["messages"]
    assert sent[1]["tool_calls"][0]["function"]["name"] == "crm__find"
    assert sent[2]["content"] == "one customer"


def test_an_answer_that_reached_its_limit_is_incomplete(shared_endpoint: Served) -> None:
    shared_endpoint.server.script(Answer("one two three four", finish="length"))
    with shared_endpoint.openai().responses.stream(model=MODEL, input="hello", max_output_tokens=4) as stream:
        events = list(stream)
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.incomplete_details.reason == "max_output_tokens"


def _result(call_id: str) -> dict[str, str]:
    return {"type": "function_call_output", "call_id": call_id, "output": "one customer"}


@pytest.mark.parametrize(
    ("path", "field", "given"),
    [
        ("/v1/chat/completions", "reasoning_effort", "high"),
        ("/v1/responses", "reasoning", {"effort": "high"}),
        ("/api/chat", "think", "high"),
    ],
)
def test_how_much_to_think_reaches_the_model(
    shared_endpoint: Served, path: str, field: str, given: object
) -> None:
    shared_endpoint.server.script("Thought.")
    body = {"model": MODEL, "messages": ASK, "input": "hello", "stream": False, field: given}
    assert shared_endpoint.http().post(path, json=body).status_code == 200
    assert shared_endpoint.server.requests[-1].body["reasoning_effort"] == "high"
    wrong = shared_endpoint.http().post(
        path, json={**body, field: {"effort": "huge"} if "resp" in path else "huge"}
    )
    assert wrong.status_code == 400
