"""What a model's options say reaches its server."""

from __future__ import annotations

import pytest
from oblix.testing import Answer, OllamaServer, OpenAIServer
from oblix.testing.faults import Hang
from support.drivers.model_requests import ask, question

from oblixd.errors import InvalidArgumentError
from oblixd.models.base import Location, ModelErrorKind
from oblixd.models.hook_spec import spec_of
from oblixd.models.providers.claude import ClaudeConnection
from oblixd.models.providers.custom import CustomConnection
from oblixd.models.providers.ollama import OllamaConnection
from oblixd.models.providers.openai import OpenAIConnection

MODEL = "gpt-4o-mini"


async def test_headers_parameters_and_fields_of_the_body_go_with_every_prompt(servers, connections):
    server = servers(OpenAIServer([MODEL]))
    server.prompt_path = "/chat/completions?api-version=1&x=a%26b"
    server.route = server._complete
    options = {
        "headers": {"X-Team": "blue"},
        "query": {"api-version": "1", "x": "a&b"},
        "extra_body": {"service_tier": "flex", "seed": 7},
        "omit": ["stream_options", "temperature"],
        "key_header": "api-key",
    }
    spec = spec_of("openai", MODEL, endpoint=server.url, api_key="sk-of-mine", options=options)
    heard = await ask(connections(OpenAIConnection(spec)), question("Hi", temperature=0.5))
    assert heard.text == "You said: Hi"
    (got,) = server.requests
    assert got.headers["x-team"] == "blue"
    assert got.headers["api-key"] == "sk-of-mine"
    assert "authorization" not in got.headers
    assert got.path == "/v1/chat/completions?api-version=1&x=a%26b"
    assert (got.body["service_tier"], got.body["seed"]) == ("flex", 7)
    assert "stream_options" not in got.body
    assert "temperature" not in got.body


async def test_the_times_that_a_model_is_waited_for_are_its_own(servers, connections):
    server = servers(OllamaServer(["llama2"]))
    server.script(Answer("", fault=Hang()))
    options = {"first_token_timeout_s": 0.2, "idle_timeout_s": 0.2, "connect_timeout_s": 0.2}
    spec = spec_of("ollama", "llama2", endpoint=server.url, options=options)
    heard = await ask(connections(OllamaConnection(spec)))
    assert heard.error.kind is ModelErrorKind.UNREACHABLE
    assert "0.2 s" in heard.error.message


async def test_the_value_of_a_header_is_never_repeated(servers, connections):
    server = servers(OpenAIServer([MODEL], api_key="right"))
    options = {"headers": {"Authorization": "Bearer canary-of-mine"}}
    spec = spec_of("custom", MODEL, endpoint=server.url, location=Location.CLOUD, options=options)
    heard = await ask(connections(CustomConnection(spec)))
    assert heard.error.kind is ModelErrorKind.UNAUTHENTICATED
    assert "canary" not in heard.error.message


def test_the_key_stands_in_one_header_only():
    options = {"key_header": "X-Goog-Api-Key"}
    spec = spec_of("claude", "claude-x", endpoint="https://gateway.example", api_key="sk-1", options=options)
    headers = ClaudeConnection(spec)._http.server.headers
    assert headers["X-Goog-Api-Key"] == "sk-1"
    assert "x-api-key" not in headers
    assert headers["anthropic-version"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_has_not_are_refused_in_a_body(value: float) -> None:
    options = {"extra_body": {"guidance": [{"scale": value}]}}
    with pytest.raises(InvalidArgumentError, match="extra_body takes finite numbers") as caught:
        spec_of("openai", MODEL, options=options)
    assert caught.value.metadata["field"] == "options.extra_body"
