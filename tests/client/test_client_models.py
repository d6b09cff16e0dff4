"""Hooked models, agents, and what was measured."""

from __future__ import annotations

from typing import Any

import pytest
from oblix import (
    FailedPreconditionError,
    InvalidArgumentError,
    ModelType,
    OblixClient,
)
from oblix.agents import ResourceMonitor
from oblix.testing import OllamaServer, OpenAIServer
from oblix.v1 import models_pb2


async def test_hooked_models_are_listed_by_provider(hooked_client: OblixClient, ollama: OllamaServer) -> None:
    assert await hooked_client.hook_model(ModelType.OPENAI, "gpt-4o-mini", api_key="sk-1") is True
    assert await hooked_client.hook_model(ModelType.OLLAMA, "phi:mini", endpoint=ollama.url) is True
    assert hooked_client.list_models() == {"ollama": ["llama2", "phi:mini"], "openai": ["gpt-4o-mini"]}


async def test_the_configuration_never_has_the_key(client: OblixClient) -> None:
    await client.hook_model(
        "custom", "mine", "http://127.0.0.1:1/v1", "sk-canary", location="cloud", context_window=4096
    )
    assert client.get_model("custom", "mine") == {
        "model_type": "custom",
        "model_name": "mine",
        "model_id": "custom:mine",
        "endpoint": "http://127.0.0.1:1/v1",
        "location": "cloud",
        "has_api_key": True,
        "context_window": 4096,
        "options": {"context_window": 4096},
    }
    assert "sk-canary" not in repr(vars(client))
    assert client.get_model(ModelType.CUSTOM, "another") is None


@pytest.mark.parametrize(
    ("model_type", "variable"), [("openai", "OPENAI_API_KEY"), ("claude", "ANTHROPIC_API_KEY")]
)
async def test_keys_come_from_the_environment(
    client: OblixClient, monkeypatch: pytest.MonkeyPatch, model_type: str, variable: str
) -> None:
    await client.hook_model(model_type, "without")
    monkeypatch.setenv(variable, "sk-1")
    await client.hook_model(model_type, "with")
    found = [client.get_model(model_type, name) for name in ("without", "with")]
    assert [one and one["has_api_key"] for one in found] == [False, True]


async def test_the_last_hook_of_a_model_wins(client: OblixClient) -> None:
    with OpenAIServer(["gpt"]) as former, OpenAIServer(["gpt"]) as latter:
        await client.hook_model("openai", "gpt", former.url, "sk-old")
        await client.hook_model("openai", "gpt", latter.url, "sk-old")
        await client.hook_model("openai", "gpt", latter.url, "sk-new")
        assert client.list_models() == {"openai": ["gpt"]}
        listed = client._transport.call(lambda link: link.models.ListModels, models_pb2.ListModelsRequest())
        assert [model.endpoint for model in listed.models if model.handle] == [latter.url]
        response = await client.execute("Hello", stream=False)
        assert len(response["routing_decision"]["model_routing"]["candidates"]) == 1
        assert not former.requests
        assert latter.requests[-1].headers["authorization"] == "Bearer sk-new"


async def test_a_forgotten_hook_is_renewed_as_it_was_last(client: OblixClient) -> None:
    with OpenAIServer(["gpt"]) as server:
        for key in ("sk-old", "sk-new"):
            await client.hook_model("openai", "gpt", server.url, key)
        everything = models_pb2.UnhookModelRequest()
        client._transport.call(lambda link: link.models.UnhookModel, everything)
        await client.execute("Hello", stream=False)
        assert {request.headers["authorization"] for request in server.requests} == {"Bearer sk-new"}
        # What the daemon has forgotten can be replaced, too.
        client._transport.call(lambda link: link.models.UnhookModel, everything)
        await client.hook_model("openai", "gpt", server.url, "sk-newest")
        response = await client.execute("Hello", stream=False)
        assert len(response["routing_decision"]["model_routing"]["candidates"]) == 1


async def test_a_given_key_beats_the_environment(
    client: OblixClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    with OpenAIServer(["gpt"]) as server:
        await client.hook_model("openai", "gpt", server.url, "sk-given")
        await client.execute("Hello", stream=False)
        assert server.requests[-1].headers["authorization"] == "Bearer sk-given"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"model_type": "gemini"}, "model_type"),
        ({"model_type": None}, "model_type"),
        ({"model_name": ""}, "name"),
        ({"model_name": 3}, "model_name"),
        ({"endpoint": "ftp://here"}, "endpoint"),
        ({"endpoint": 3}, "endpoint"),
        ({"api_key": 3}, "api_key"),
        ({"location": "moon"}, "location"),
        ({"temperature": 1}, "options.temperature"),
        ({"num_ctx": {1}}, "options.num_ctx"),
    ],
)
async def test_wrong_arguments_raise(client: OblixClient, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await client.hook_model(**{"model_type": "ollama", "model_name": "llama2"} | arguments)
    assert caught.value.metadata["field"] == field
    assert client.list_models() == {}


async def test_two_keys_for_one_model_do_not_collide(client: OblixClient, shared_home: object) -> None:
    other = OblixClient()
    with OpenAIServer(["gpt"]) as server:
        await client.hook_model("openai", "gpt", server.url, "sk-1")
        await other.hook_model("openai", "gpt", server.url, "sk-2")
        for asking in (client, other):
            await asking.execute("Hello", stream=False)
        keys = [request.headers["authorization"] for request in server.requests]
    assert keys == ["Bearer sk-1", "Bearer sk-2"]


async def test_shutdown_lets_go_and_harms_nobody_else(
    hooked_client: OblixClient, ollama: OllamaServer
) -> None:
    other = OblixClient()
    await other.hook_model("ollama", "llama2", endpoint=ollama.url)
    await hooked_client.shutdown()
    await hooked_client.shutdown()
    with pytest.raises(FailedPreconditionError) as caught:
        hooked_client.list_sessions()
    assert caught.value.reason == "CLIENT_CLOSED"
    hooked_client.hook_agent(ResourceMonitor())
    with pytest.raises(FailedPreconditionError, match="was shut down"):
        await hooked_client.execute("No agent is asked any more", stream=False)
    assert (await other.execute("Hello", stream=False))["response"] == "You said: Hello"


async def test_the_end_of_a_block_shuts_the_client_down(client: OblixClient, ollama: OllamaServer) -> None:
    with OblixClient() as sync, OblixClient() as other:
        async with client as same:
            assert same is client
            for one in (client, sync):
                await one.hook_model("ollama", "llama2", endpoint=ollama.url)
        assert (await sync.execute("Hello", stream=False))["response"] == "You said: Hello"
        assert not other.list_sessions(limit=0)
    for one in (client, sync, other):
        with pytest.raises(FailedPreconditionError, match="was shut down"):
            one.list_sessions()


async def test_a_handle_that_the_daemon_forgot_is_hooked_again_unseen(hooked_client: OblixClient) -> None:
    request = models_pb2.UnhookModelRequest()
    await hooked_client._transport.acall(lambda link: link.models.UnhookModel, request)
    assert (await hooked_client.execute("Hello", stream=False))["response"] == "You said: Hello"
