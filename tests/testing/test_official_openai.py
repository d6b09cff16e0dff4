"""OpenAI's own Python client takes everything that our server sends in the good case."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from oblix.testing import Answer, OpenAIServer, Refuse, Report, ToolCall
from openai.types.chat import ChatCompletionMessage

KEY = "sk-right"
MESSAGES = [{"role": "user", "content": "two words"}]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
ANSWER = Answer(
    "Let me see.",
    tool_calls=(ToolCall("weather", {"city": "Zürich", "days": 2}, "c1"), ToolCall("time", call_id="c2")),
)
CALLS = [("c1", "weather", '{"city": "Zürich", "days": 2}'), ("c2", "time", "{}")]


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(["gpt-4o-mini"], api_key=KEY) as server:
        yield server


@pytest.fixture
def client(server: OpenAIServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key=KEY, max_retries=0) as client:
        yield client


def test_a_streamed_completion(server: OpenAIServer, client: openai.OpenAI) -> None:
    server.script(Answer("Grüße, Welt!", reasoning="Hm."))
    chunks = list(
        client.chat.completions.create(
            model="gpt-4o-mini", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    )
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == "Grüße, Welt!"
    assert choices[-1].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (2, 3)


def test_counts_come_only_where_they_were_asked_for(client: openai.OpenAI) -> None:
    chunks = client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True)
    assert all(chunk.usage is None for chunk in chunks)


def test_a_whole_completion(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, max_completion_tokens=2)
    assert answer.choices[0].message.content == "You said:"
    assert answer.choices[0].finish_reason == "length"


def calls_of(message: ChatCompletionMessage) -> list[tuple[str, str, str]]:
    return [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls]


def test_streamed_tool_calls(server: OpenAIServer, client: openai.OpenAI) -> None:
    server.script(ANSWER)
    with client.chat.completions.stream(model="gpt-4o-mini", messages=MESSAGES, tools=TOOLS) as stream:
        pieces = [event for event in stream if event.type == "tool_calls.function.arguments.delta"]
        choice = stream.get_final_completion().choices[0]
    assert len(pieces) > len(CALLS), "they come in pieces"
    assert (choice.message.content, choice.finish_reason) == ("Let me see.", "tool_calls")
    assert calls_of(choice.message) == CALLS


def test_whole_tool_calls_and_their_results(server: OpenAIServer, client: openai.OpenAI) -> None:
    server.script(ANSWER)
    arguments = {"model": "gpt-4o-mini", "tools": TOOLS}
    choice = client.chat.completions.create(messages=MESSAGES, **arguments).choices[0]
    assert (choice.finish_reason, calls_of(choice.message)) == ("tool_calls", CALLS)
    results = [{"role": "tool", "tool_call_id": one, "content": "well"} for one in ("c1", "c2")]
    client.chat.completions.create(messages=[*MESSAGES, choice.message, *results], **arguments)
    for wrong in ([choice.message], [choice.message, results[0]], results):
        with pytest.raises(openai.BadRequestError, match="tool_calls"):
            client.chat.completions.create(messages=[*MESSAGES, *wrong, *MESSAGES], **arguments)


def test_a_choice_without_tools_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="tool_choice"):
        client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, tool_choice="auto")


def test_the_official_client_lists_the_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["gpt-4o-mini"]


def test_a_wrong_key(server: OpenAIServer) -> None:
    with (
        openai.OpenAI(base_url=server.url, api_key="sk-wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="sk-wrong"),
    ):
        client.models.list()


def test_an_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-9", messages=MESSAGES)
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, openai.RateLimitError), (400, openai.BadRequestError), (503, openai.InternalServerError)],
)
def test_the_official_client_raises_its_errors(
    server: OpenAIServer, client: openai.OpenAI, status: int, error: type[openai.APIStatusError]
) -> None:
    server.script(Answer(fault=Refuse(status, "no")))
    with pytest.raises(error, match="no"):
        client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True)


def test_an_error_in_the_stream(server: OpenAIServer, client: openai.OpenAI) -> None:
    server.script(Answer("One two", fault=Report(1, "out of memory")))
    stream = client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError, match="out of memory"):
        list(stream)
