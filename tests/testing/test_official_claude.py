"""Anthropic's own Python client takes everything that our server sends in the good case."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import pytest
from oblix.testing import Answer, ClaudeServer, Refuse, Report, ToolCall

KEY = "sk-ant-right"
MODEL = "claude-3-haiku-20240307"
MESSAGES = [{"role": "user", "content": "two words"}]
CALLS = (ToolCall("weather", {"city": "Zürich", "days": 2}, "c1"), ToolCall("time", call_id="c2"))


@pytest.fixture
def server() -> Iterator[ClaudeServer]:
    with ClaudeServer([MODEL], api_key=KEY) as server:
        yield server


@pytest.fixture
def client(server: ClaudeServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.url, api_key=KEY, max_retries=0) as client:
        yield client


def ask(client: anthropic.Anthropic, **arguments: object) -> object:
    return client.messages.create(**{"model": MODEL, "max_tokens": 100, "messages": MESSAGES, **arguments})


def test_a_streamed_message(server: ClaudeServer, client: anthropic.Anthropic) -> None:
    server.script(Answer("Grüße, Welt!", reasoning="Hm."))
    with client.messages.stream(model=MODEL, max_tokens=100, messages=MESSAGES) as stream:
        assert "".join(stream.text_stream) == "Grüße, Welt!"
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].thinking == "Hm."
    assert message.stop_reason == "end_turn"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (2, 3)


def test_a_whole_message(client: anthropic.Anthropic) -> None:
    message = ask(client, max_tokens=2)
    assert (message.content[0].text, message.stop_reason) == ("You said:", "max_tokens")


def test_an_empty_answer(server: ClaudeServer, client: anthropic.Anthropic) -> None:
    server.script("")
    with client.messages.stream(model=MODEL, max_tokens=100, messages=MESSAGES) as stream:
        assert stream.get_final_message().content == []


def test_streamed_tool_calls(server: ClaudeServer, client: anthropic.Anthropic) -> None:
    server.script(Answer("Let me see.", tool_calls=CALLS))
    with client.messages.stream(model=MODEL, max_tokens=100, messages=MESSAGES) as stream:
        pieces = [event for event in stream if event.type == "input_json"]
        message = stream.get_final_message()
    assert len(pieces) > len(CALLS), "they come in pieces"
    text, *calls = message.content
    assert (text.text, message.stop_reason) == ("Let me see.", "tool_use")
    assert [ToolCall(call.name, call.input, call.id) for call in calls] == list(CALLS)


def test_whole_tool_calls_and_their_results(server: ClaudeServer, client: anthropic.Anthropic) -> None:
    server.script(Answer(tool_calls=CALLS))
    message = ask(client)
    assert message.stop_reason == "tool_use"
    assert [ToolCall(call.name, call.input, call.id) for call in message.content] == list(CALLS)
    asked = [*MESSAGES, {"role": "assistant", "content": message.content}]
    results = [{"type": "tool_result", "tool_use_id": one, "content": "well"} for one in ("c1", "c2")]
    assert ask(client, messages=[*asked, {"role": "user", "content": results}]).stop_reason == "end_turn"
    for wrong in ("well", results[:1], [*results, results[0] | {"tool_use_id": "c3"}]):
        with pytest.raises(anthropic.BadRequestError, match="tool_use"):
            ask(client, messages=[*asked, {"role": "user", "content": wrong}])


def test_the_official_client_lists_the_model(client: anthropic.Anthropic) -> None:
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("claude-9")


def test_a_wrong_key(server: ClaudeServer) -> None:
    with (
        anthropic.Anthropic(base_url=server.url, api_key="wrong", max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        ask(client)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "assistant", "content": "Hi"}],
        [{"role": "user", "content": "Hi"}, {"role": "user", "content": "there"}],
        [{"role": "system", "content": "Be brief."}],
    ],
)
def test_wrong_turns_are_refused(client: anthropic.Anthropic, messages: list[dict[str, str]]) -> None:
    with pytest.raises(anthropic.BadRequestError, match="roles"):
        ask(client, messages=messages)


def test_a_temperature_goes_with_the_older_version_only(client: anthropic.Anthropic) -> None:
    older = {"anthropic-version": "2023-06-01"}
    sampling = {"temperature": 0.5}
    assert ask(client, extra_body=sampling, extra_headers=older).stop_reason == "end_turn"
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        ask(client, extra_body=sampling)


@pytest.mark.parametrize("status", [429, 500, 529])
def test_the_official_client_raises_its_errors(
    server: ClaudeServer, client: anthropic.Anthropic, status: int
) -> None:
    server.script(Answer(fault=Refuse(status, "no")))
    with pytest.raises(anthropic.APIStatusError) as caught:
        ask(client, stream=True)
    assert caught.value.status_code == status


def test_an_error_in_the_stream(server: ClaudeServer, client: anthropic.Anthropic) -> None:
    server.script(Answer("One two", fault=Report(1, "busy")))
    with pytest.raises(anthropic.APIStatusError, match="busy"):
        list(ask(client, stream=True))
