"""Each event and each body holds against the official SDKs' own types: no field too many, none missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import ollama
import pytest
from anthropic.types import ErrorResponse, Message, MessageTokensCount, ModelInfo, RawMessageStreamEvent
from oblix.testing import Answer, Cut, Refuse, ToolCall
from openai.types import ErrorObject, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from support.endpoint import MODEL, Served
from support.sdk_types import Sent, events, strict

CALLS = (
    ToolCall("get_weather", {"city": "Bern"}, "call_1"),
    ToolCall("get_weather", {"city": "Genf"}, "call_2"),
)
ANSWERS: Mapping[str, Answer] = {
    "text": Answer("Good day.", input_tokens=7),
    "nothing": Answer(""),
    "tools": Answer(tool_calls=CALLS),
    "all": Answer("One moment.", reasoning="Let me see.", tool_calls=CALLS),
    "reasoning": Answer("Four.", reasoning="Two and two."),
    "limit": Answer("one two three", finish="length"),
    "refusal": Answer("I can not", finish="content_filter"),
}
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}
NAMED = {"name": "get_weather", "description": "The weather.", "parameters": WEATHER}
ASK = [{"role": "user", "content": "hello"}]
BODIES: Mapping[str, Sent] = {
    "/v1/chat/completions": {
        "messages": ASK,
        "tools": [{"type": "function", "function": NAMED}],
        "stream_options": {"include_usage": True},
    },
    "/v1/responses": {
        "input": "hello",
        "tools": [{"type": "function", **NAMED}],
        "instructions": "Be short.",
    },
    "/v1/messages": {
        "messages": ASK,
        "max_tokens": 50,
        "tools": [{"name": "get_weather", "input_schema": WEATHER}],
    },
    "/api/chat": {"messages": ASK, "tools": [{"type": "function", "function": NAMED}]},
    "/api/generate": {"prompt": "hello"},
}
WHOLE: Mapping[str, Any] = {
    "/v1/chat/completions": ChatCompletion,
    "/v1/responses": Response,
    "/v1/messages": Message,
    "/api/chat": ollama.ChatResponse,
    "/api/generate": ollama.GenerateResponse,
}
PIECE: Mapping[str, Any] = {
    **WHOLE,
    "/v1/chat/completions": ChatCompletionChunk,
    "/v1/responses": ResponseStreamEvent,
    "/v1/messages": RawMessageStreamEvent,
}
MORE: Mapping[str, tuple[str, ...]] = {
    # As vLLM, SGLang and DeepSeek send a model's thinking in this API.
    "/v1/chat/completions": ("reasoning_content",),
    # Older versions of the types demand it in `function_call_arguments.done`.
    "/v1/responses": ("name",),
    # As Ollama itself sends calls; its clients' types do not say so.
    "/api/chat": ("id", "index"),
}
ENDS: Mapping[str, Mapping[str, str]] = {
    "/v1/chat/completions": {"tools": "tool_calls", "limit": "length", "refusal": "content_filter"},
    "/v1/messages": {"tools": "tool_use", "limit": "max_tokens", "refusal": "refusal"},
    "/api/chat": {"limit": "length"},
}

each_path = pytest.mark.parametrize("path", BODIES)
each_answer = pytest.mark.parametrize("kind", ANSWERS)


def post(shared_endpoint: Served, path: str, *, stream: bool) -> str:
    body = {"model": MODEL, "stream": stream, **BODIES[path]}
    if not stream:
        body.pop("stream_options", None)
    return shared_endpoint.http().post(path, json=body).text


def pieces_of(path: str, text: str) -> list[Sent]:
    return [json.loads(line) for line in text.splitlines()] if path.startswith("/api") else events(text)


@each_answer
@each_path
def test_a_body_is_what_the_sdk_s_type_says(shared_endpoint: Served, path: str, kind: str) -> None:
    shared_endpoint.server.script(ANSWERS[kind])
    body = json.loads(post(shared_endpoint, path, stream=False))
    done = strict(WHOLE[path], body, more=MORE.get(path, ()))
    wanted = ENDS.get(path, {}).get("tools" if kind == "all" else kind)
    if wanted:
        ended = {
            "/v1/chat/completions": lambda: done.choices[0].finish_reason,
            "/v1/messages": lambda: done.stop_reason,
            "/api/chat": lambda: done.done_reason,
        }
        assert ended[path]() == wanted


@each_answer
@each_path
def test_each_piece_of_a_stream_is_what_the_sdk_s_type_says(
    shared_endpoint: Served, path: str, kind: str
) -> None:
    shared_endpoint.server.script(ANSWERS[kind])
    pieces = pieces_of(path, post(shared_endpoint, path, stream=True))
    for piece in pieces:
        strict(PIECE[path], piece, more=MORE.get(path, ()))
    assert len(pieces) > 1


@each_path
def test_a_refused_request_has_the_error_s_type(shared_endpoint: Served, path: str) -> None:
    shared_endpoint.server.script(Answer(fault=Refuse(400, "bad parameter")))
    body = json.loads(post(shared_endpoint, path, stream=True))
    hold_error(path, body)


@each_path
def test_an_answer_that_breaks_off_ends_with_the_error_s_type(shared_endpoint: Served, path: str) -> None:
    shared_endpoint.server.script(Answer("one two three four", fault=Cut(after=2)))
    *pieces, last = pieces_of(path, post(shared_endpoint, path, stream=True))
    assert pieces
    for piece in pieces:
        strict(PIECE[path], piece, more=MORE.get(path, ()))
    if path == "/v1/responses":
        failed = strict(ResponseStreamEvent, last)
        assert (failed.type, failed.response.error.code) == ("response.failed", "server_error")
    else:
        hold_error(path, last)


def hold_error(path: str, body: Sent) -> None:
    """Hold an error's body against its type. Ollama's is one sentence."""
    if path == "/v1/messages":
        # Inside a stream no header can tell the reason.
        strict(ErrorResponse, body, more=("code",))
    elif path.startswith("/api"):
        assert list(body) == ["error"]
        assert isinstance(body["error"], str)
    else:
        assert list(body) == ["error"]
        strict(ErrorObject, body["error"])


def test_lists_and_counts_have_their_types(shared_endpoint: Served) -> None:
    http = shared_endpoint.http()
    count = http.post("/v1/messages/count_tokens", json={"model": MODEL, "messages": ASK})
    strict(MessageTokensCount, count.json())
    (first, *_) = http.get("/v1/models").json()["data"]
    for kind in (Model, ModelInfo):
        strict(kind, first, more=tuple(first))
    tags, shown = http.get("/api/tags").json(), http.post("/api/show", json={"model": MODEL}).json()
    for kind, body in ((ollama.ListResponse, tags), (ollama.ProcessResponse, http.get("/api/ps").json())):
        kind.model_validate(body)
    ollama.ShowResponse.model_validate(shown)
