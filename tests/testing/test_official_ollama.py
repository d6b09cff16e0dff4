"""Ollama's own Python client takes everything that our server sends in the good case."""

from __future__ import annotations

from collections.abc import Iterator

import ollama
import pytest
from oblix.testing import Answer, OllamaServer, Report, ToolCall

MESSAGES = [{"role": "user", "content": "two words"}]
WEATHER = ToolCall("weather", {"city": "Zürich", "days": 2})


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    with OllamaServer(["llama2", "mistral:7b"], library={"gemma": 1000}) as server:
        yield server


@pytest.fixture
def client(server: OllamaServer) -> Iterator[ollama.Client]:
    client = ollama.Client(host=server.url)
    yield client
    client._client.close()


def test_a_streamed_chat(server: OllamaServer, client: ollama.Client) -> None:
    server.script(Answer("Grüße, Welt!", reasoning="Hm."))
    *pieces, last = client.chat("llama2", MESSAGES, stream=True)
    assert [piece.message.thinking for piece in pieces if piece.message.thinking] == ["Hm."]
    assert "".join(piece.message.content for piece in pieces) == "Grüße, Welt!"
    assert not any(piece.done for piece in pieces)
    assert (last.done, last.done_reason, last.message.content) == (True, "stop", "")
    assert (last.prompt_eval_count, last.eval_count) == (2, 3)
    assert last.total_duration >= last.load_duration + last.eval_duration


def test_a_whole_chat(client: ollama.Client) -> None:
    answer = client.chat("llama2", MESSAGES)
    assert (answer.message.content, answer.done_reason) == ("You said: two words", "stop")


def test_a_limit_is_kept(client: ollama.Client) -> None:
    answer = client.chat("llama2", MESSAGES, options={"num_predict": 2})
    assert (answer.message.content, answer.done_reason, answer.eval_count) == ("You said:", "length", 2)


def test_the_official_client_reads_tool_calls(server: OllamaServer, client: ollama.Client) -> None:
    answer = Answer("Let me see.", tool_calls=(WEATHER, ToolCall("time")))
    server.script(answer, answer)
    *pieces, last = client.chat("llama2", MESSAGES, stream=True)
    whole = client.chat("llama2", MESSAGES)
    streamed = [call for piece in pieces for call in piece.message.tool_calls or []]
    for calls in (streamed, whole.message.tool_calls):
        assert [(call.function.name, call.function.arguments) for call in calls] == [
            ("weather", {"city": "Zürich", "days": 2}),
            ("time", {}),
        ]
    assert (last.done_reason, whole.done_reason) == ("stop", "stop")


def test_the_official_client_lists_the_models(client: ollama.Client) -> None:
    assert [model.model for model in client.list().models] == ["llama2:latest", "mistral:7b"]
    assert client.list().models[0].details.format == "gguf"
    shown = client.show("llama2")
    assert shown.modelinfo["llama.context_length"] == 131_072
    assert shown.capabilities == ["completion", "tools", "vision", "thinking"]


def test_the_official_client_lists_loaded_models(server: OllamaServer, client: ollama.Client) -> None:
    assert client.ps().models == []
    for keep_alive, num_ctx in (("10m", 2048), (600, 2048), ("-1m", 1024)):
        client.chat("llama2", MESSAGES, keep_alive=keep_alive, options={"num_ctx": num_ctx})
    [running] = client.ps().models
    assert (running.name, running.context_length) == ("llama2:latest", 1024)
    assert running.expires_at is not None
    assert running.expires_at.year > 2100
    assert server.loads == [("llama2:latest", 2048), ("llama2:latest", 1024)]
    client.chat("llama2", MESSAGES, keep_alive=0)
    assert client.ps().models == []


def test_the_official_client_pulls_a_model(server: OllamaServer, client: ollama.Client) -> None:
    steps = list(client.pull("gemma", stream=True))
    assert [step.status for step in (steps[0], *steps[-3:])] == [
        "pulling manifest",
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    pieces = [(step.completed, step.total) for step in steps if step.digest]
    assert pieces[0] == (None, 1000)
    assert pieces[-1] == (1000, 1000)
    assert client.chat("gemma", MESSAGES).message.content == "You said: two words"
    with pytest.raises(ollama.ResponseError, match="file does not exist"):
        list(client.pull("unknown", stream=True))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"options": {"num_ctx": 1}, "truncate": False}, "exceeds the available context size"),
        ({"keep_alive": "soon"}, "invalid duration"),
        ({"tools": [{"type": "function", "function": {"name": "time"}}]}, "does not support tools"),
        ({"messages": [{"role": "user", "content": "", "images": ["aGk="]}]}, "image input"),
    ],
)
def test_the_official_client_raises_for_a_refusal(
    server: OllamaServer, client: ollama.Client, request_: dict[str, object], message: str
) -> None:
    server.capabilities = ["completion"]
    body = {"model": "llama2", "messages": MESSAGES, "stream": False, **request_}
    answer = client._client.post("/api/chat", json=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


@pytest.mark.parametrize("call", ["chat", "show"])
def test_the_official_client_raises_for_a_model_that_is_not_pulled(client: ollama.Client, call: str) -> None:
    arguments = {"model": "gemma"} | ({"messages": MESSAGES} if call == "chat" else {})
    with pytest.raises(ollama.ResponseError, match="model 'gemma' not found") as caught:
        getattr(client, call)(**arguments)
    assert caught.value.status_code == 404


def test_an_error_in_the_stream(server: OllamaServer, client: ollama.Client) -> None:
    server.script(Answer("One two", fault=Report(1, "out of memory")))
    stream = client.chat("llama2", MESSAGES, stream=True)
    assert next(stream).message.content == "One"
    with pytest.raises(ollama.ResponseError, match="out of memory"):
        next(stream)


def test_our_client_sees_the_same_server(server: OllamaServer, client: ollama.Client) -> None:
    client.chat("llama2", MESSAGES, keep_alive="5m")
    [received] = server.requests
    assert (received.method, received.path) == ("POST", "/api/chat")
    assert received.body["keep_alive"] == "5m"
    assert received.headers["content-type"] == "application/json"
