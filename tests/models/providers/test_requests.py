"""What is sent: the context in each provider's own words, and nothing that was not asked for."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from oblix.testing import OpenAIServer
from oblix.v1 import messages_pb2
from support.drivers.model_requests import ask, chat, message, question

from oblixd.models.base import ChatRequest, ModelError, ModelErrorKind, Options
from oblixd.models.embedded.connection import EmbeddedModels, EmbeddedSettings
from oblixd.models.encoding import chat_messages, join_neighbours
from oblixd.models.hook_spec import HookSpec, spec_of
from oblixd.models.providers.claude import MAX_TOKENS, ClaudeConnection
from oblixd.models.providers.custom import CustomConnection
from oblixd.models.providers.ollama import OllamaConnection
from oblixd.models.providers.openai import OpenAIConnection
from oblixd.models.providers.provider_state import load_object, load_state

SYSTEM, USER, ASSISTANT, TOOL = (
    messages_pb2.ROLE_SYSTEM,
    messages_pb2.ROLE_USER,
    messages_pb2.ROLE_ASSISTANT,
    messages_pb2.ROLE_TOOL,
)
PNG = messages_pb2.Part(image=messages_pb2.ImagePart(media_type="image/png", data=b"\x89PNG"))
CALL = messages_pb2.Part(
    tool_call=messages_pb2.ToolCallPart(call_id="c1", name="weather", arguments_json='{"city":"Bern"}')
)
RESULT = messages_pb2.Part(
    tool_result=messages_pb2.ToolResultPart(call_id="c1", content="4 degrees", is_error=False)
)
DATA = base64.b64encode(b"\x89PNG").decode()
EVERYTHING = Options(temperature=0.5, max_tokens=9, top_p=0.8, seed=4, stop=("END",))


def ollama(request: ChatRequest, **options: object) -> dict[str, Any]:
    return OllamaConnection(spec_of("ollama", "llama2", options=options)).body(request)


def openai(request: ChatRequest, spec: HookSpec | None = None) -> dict[str, Any]:
    return OpenAIConnection(spec or spec_of("openai", "gpt-4o")).body(request)


def claude(request: ChatRequest) -> dict[str, Any]:
    return ClaudeConnection(spec_of("claude", "claude-3")).body(request)


def embed_body(request: ChatRequest) -> dict[str, Any]:
    here = Path()
    models = EmbeddedModels(EmbeddedSettings(here, here, max_tokens=77))
    return models.connect(spec_of("embedded", models.names[0])).body(request)


def talk(*messages: messages_pb2.Message) -> ChatRequest:
    return chat(messages)


def test_options_have_ollamas_names() -> None:
    body = ollama(question("Hi", **vars_of(EVERYTHING)), num_ctx=2048, keep_alive="10m")
    assert body == {
        "model": "llama2",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "keep_alive": "10m",
        "truncate": False,
        "shift": False,
        "options": {
            "num_ctx": 2048,
            "temperature": 0.5,
            "num_predict": 9,
            "top_p": 0.8,
            "seed": 4,
            "stop": ["END"],
        },
    }


def test_nothing_is_sent_that_nobody_asked_for() -> None:
    assert ollama(question("Hi"))["options"] == {"num_ctx": 8192}
    assert set(openai(question("Hi"))) == {"model", "messages", "stream", "stream_options"}
    assert set(claude(question("Hi"))) == {"model", "messages", "stream", "max_tokens"}


def test_options_have_openais_names() -> None:
    body = openai(question("Hi", **vars_of(EVERYTHING)))
    assert body["max_completion_tokens"] == 9
    assert (body["temperature"], body["top_p"], body["seed"], body["stop"]) == (0.5, 0.8, 4, ["END"])
    assert body["stream_options"] == {"include_usage": True}


def test_other_servers_know_only_the_older_limit() -> None:
    spec = HookSpec("custom", "any", "http://127.0.0.1:8000")
    body = CustomConnection(spec).body(question("Hi", max_tokens=9))
    assert body["max_tokens"] == 9
    assert "max_completion_tokens" not in body


def test_options_have_claudes_names() -> None:
    body = claude(question("Hi", temperature=0.5, max_tokens=9, top_p=0.8, stop=("END",)))
    assert (body["temperature"], body["max_tokens"], body["top_p"]) == (0.5, 9, 0.8)
    assert body["stop_sequences"] == ["END"]
    assert claude(question("Hi"))["max_tokens"] == MAX_TOKENS


def test_claude_has_no_seed_and_says_so() -> None:
    with pytest.raises(ModelError, match="seed") as caught:
        claude(question("Hi", seed=1))
    assert caught.value.kind is ModelErrorKind.REFUSED


def test_roles_and_images() -> None:
    request = talk(
        message(SYSTEM, "Be brief."), message(USER, "What is ", "this?", PNG), message(ASSISTANT, "A cat.")
    )
    assert ollama(request)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is this?", "images": [DATA]},
        {"role": "assistant", "content": "A cat."},
    ]
    assert openai(request)["messages"][1]["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}},
    ]
    body = claude(request)
    assert body["system"] == "Be brief."
    assert body["messages"][0]["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}},
        {"type": "text", "text": "What is this?"},
    ]


def test_tools_have_each_providers_form() -> None:
    request = talk(message(USER, "Weather?"), message(ASSISTANT, CALL), message(TOOL, RESULT))
    arguments = {"city": "Bern"}
    assert ollama(request)["messages"][1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "weather", "arguments": arguments}}],
        },
        {"role": "tool", "content": "4 degrees", "tool_name": "weather"},
    ]
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}
    assert openai(request)["messages"][1:] == [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "4 degrees"},
    ]
    assert claude(request)["messages"][1:] == [
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "c1", "name": "weather", "input": arguments}],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "4 degrees", "is_error": False}
            ],
        },
    ]


@pytest.mark.parametrize("arguments", ['{"city":', '{"city": "\\ud83d"}'])
def test_broken_arguments_do_not_end_a_conversation(arguments: str) -> None:
    call = messages_pb2.Part(
        tool_call=messages_pb2.ToolCallPart(call_id="c1", name="weather", arguments_json=arguments)
    )
    body = ollama(talk(message(ASSISTANT, call)))
    assert body["messages"][0]["tool_calls"][0]["function"]["arguments"] == {"invalid_json": arguments}


def test_reasoning_and_empty_messages_are_never_sent() -> None:
    request = talk(
        message(USER, "Hi"),
        message(ASSISTANT, messages_pb2.Part(reasoning="secret thoughts"), "Hello"),
        message(ASSISTANT, messages_pb2.Part(reasoning="only thoughts")),
        message(USER, ""),
        message(USER),
    )
    for body in (ollama(request), openai(request), claude(request)):
        assert "thoughts" not in str(body)
        assert len(body["messages"]) == 2


def test_claude_gets_strict_turns_that_begin_with_the_user() -> None:
    """A session can begin with the assistant's welcome; a failed answer leaves two questions in a row."""
    two = [message(USER, "One"), message(USER, "Two")]
    request = talk(message(ASSISTANT, "Welcome!"), *two, message(ASSISTANT, "Three"))
    messages = claude(request)["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant", "user", "assistant"]
    assert messages[2]["content"] == [{"type": "text", "text": "One\n\nTwo"}]


def test_the_embedded_model_gets_strict_turns_and_a_limit() -> None:
    body = embed_body(talk(message(SYSTEM, "Be brief."), message(USER, "One"), message(USER, "Two")))
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One\n\nTwo"},
    ]
    assert body["max_tokens"] == 77
    assert embed_body(question("Hi", max_tokens=5))["max_tokens"] == 5


def test_neighbours_of_one_role_are_joined() -> None:
    context = chat_messages([message(USER, "One"), message(USER, "Two", PNG), message(ASSISTANT, "Three")])
    first, second = join_neighbours(context)
    assert (first.role, first.text, len(first.images)) == ("user", "One\n\nTwo", 1)
    assert second.text == "Three"


@pytest.mark.parametrize(
    ("path", "posted"),
    [
        ("", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/api/v1", "/api/v1/chat/completions"),
        ("/openai", "/openai/chat/completions"),
    ],
)
async def test_an_endpoint_without_a_path_means_v1(path: str, posted: str) -> None:
    with OpenAIServer() as server:
        spec = HookSpec("custom", "any", f"http://127.0.0.1:{server.port}{path}")
        connection = CustomConnection(spec)
        await ask(connection)
        assert [received.path for received in server.requests] == [posted]
        await connection.close()


def vars_of(options: Options) -> dict[str, object]:
    return {name: getattr(options, name) for name in options.__slots__}


@pytest.mark.parametrize("state", ['{"thinks": tru', '{"thinks": true, "a": "\\ud83d"}', "[]"])
def test_a_state_that_cannot_be_sent_is_left_out(state: str) -> None:
    assert load_state(state) == {}


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "-1E400"])
def test_a_number_that_json_has_not_is_not_made_another(number: str) -> None:
    """It went out as null to servers that want an object, and as it was to those that want a text."""
    assert load_object(f'{{"x": [{number}]}}') is None
    assert load_object('{"x": [1e300, 0.1]}') == {"x": [1e300, 0.1]}
