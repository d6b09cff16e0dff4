"""Ollama's own client, unmodified, against the endpoint."""

from __future__ import annotations

import ollama
import pytest
from oblix.testing import Answer, Cut, ToolCall
from support.endpoint import MODEL, Served

ASK = [{"role": "user", "content": "hello"}]


def test_a_chat_is_answered_at_once_and_streamed(shared_endpoint: Served) -> None:
    shared_endpoint.server.script(Answer("Good day.", input_tokens=7), "Good night.")
    done = shared_endpoint.ollama().chat(MODEL, ASK)
    assert (done.message.content, done.done_reason, done.prompt_eval_count) == ("Good day.", "stop", 7)
    pieces = list(shared_endpoint.ollama().chat("auto:latest", ASK, stream=True))
    assert "".join(piece.message.content or "" for piece in pieces) == "Good night."
    assert [piece.done for piece in pieces][-2:] == [False, True]


def test_tools_are_called_and_answered_in_order(shared_endpoint: Served) -> None:
    calls = (ToolCall("a", {"x": 1}, "call_7"), ToolCall("b", {"y": 2}, "call_8"))
    shared_endpoint.server.script(Answer(tool_calls=calls), "Done.")
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in "ab"
    ]
    client = shared_endpoint.ollama()
    message = list(client.chat(MODEL, ASK, tools=tools, stream=True))[-2].message
    assert message.tool_calls
    assert [(call.function.name, call.function.arguments) for call in message.tool_calls] == [
        ("a", {"x": 1}),
        ("b", {"y": 2}),
    ]
    results = [{"role": "tool", "tool_name": name, "content": f"{name} done"} for name in "ab"]
    client.chat(MODEL, [*ASK, message, *results], tools=tools)
    sent = shared_endpoint.server.requests[-1].body["messages"]
    called = [call["id"] for call in sent[1]["tool_calls"]]
    assert [one["tool_call_id"] for one in sent[2:]] == called


def test_generate_options_and_lists(shared_endpoint: Served) -> None:
    shared_endpoint.server.script("Good day.")
    client = shared_endpoint.ollama()
    options = {"temperature": 0.5, "num_predict": 9, "seed": 3, "top_k": 5}
    assert client.generate(MODEL, "hello", system="Be short.", options=options).response == "Good day."
    body = shared_endpoint.server.requests[-1].body
    assert (body["temperature"], body["seed"]) == (0.5, 3)
    assert {"auto", MODEL, "gpt-4o"} <= {model.model for model in client.list().models}
    assert "completion" in (client.show("auto").capabilities or [])
    assert client.ps().models == []


def test_an_unknown_model_and_a_break_raise(fresh: Served) -> None:
    with pytest.raises(ollama.ResponseError) as caught:
        fresh.ollama().chat("llama2", ASK)
    assert caught.value.status_code == 404
    fresh.server.script(Answer("one two three four", fault=Cut(after=2)))
    with pytest.raises(ollama.ResponseError):
        list(fresh.ollama().chat(MODEL, ASK, stream=True))
