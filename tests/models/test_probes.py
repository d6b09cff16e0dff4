"""What a provider tells of a model when it is asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from oblix.testing import ModelServer, OllamaServer, OpenAIServer
from support.drivers.model_requests import ask

from oblixd.models.base import Connection, Location, ModelErrorKind, State
from oblixd.models.hook_spec import spec_of
from oblixd.models.providers.custom import CustomConnection
from oblixd.models.providers.ollama import OllamaConnection
from oblixd.models.providers.openai import OpenAIConnection

Servers = Callable[[ModelServer], ModelServer]
Connections = Callable[[Connection], Connection]


@pytest.mark.parametrize(
    ("pulled", "name", "state"),
    [
        ("llama2", "llama2", State.IDLE),
        ("llama2", "llama2:latest", State.IDLE),
        ("llama2:13b", "llama2:13b", State.IDLE),
        ("llama2:13b", "llama2", State.UNAVAILABLE),
        ("llama2", "llama2:13b", State.UNAVAILABLE),
        ("hf.co/some/model", "hf.co/some/model:latest", State.IDLE),
        ("localhost:5000/some/model", "localhost:5000/some/model", State.IDLE),
    ],
)
async def test_a_name_without_a_tag_means_latest(
    servers: Servers, connections: Connections, pulled: str, name: str, state: State
) -> None:
    server = servers(OllamaServer([pulled]))
    connection = connections(OllamaConnection(spec_of("ollama", name, endpoint=server.url)))
    status = await connection.probe()
    assert status.state is state
    assert (f"ollama pull {name}" in status.reason) == (state is State.UNAVAILABLE)


async def test_a_model_that_is_not_pulled_says_how_to_pull_it(
    servers: Servers, connections: Connections
) -> None:
    server = servers(OllamaServer(["llama2"]))
    connection = connections(OllamaConnection(spec_of("ollama", "mistral", endpoint=server.url)))
    error = (await ask(connection)).error
    assert error is not None
    assert error.kind is ModelErrorKind.NOT_PULLED
    assert "run `ollama pull mistral`" in error.message


async def test_a_hosted_model_under_a_local_name_is_in_the_cloud(
    servers: Servers, connections: Connections
) -> None:
    """`ollama cp gpt-oss:120b-cloud mine` makes such a name."""
    server = servers(OllamaServer(["llama2"], remote=["mine"]))
    mine = connections(OllamaConnection(spec_of("ollama", "mine", endpoint=server.url)))
    own = connections(OllamaConnection(spec_of("ollama", "llama2", endpoint=server.url)))
    told = connections(
        OllamaConnection(spec_of("ollama", "mine", endpoint=server.url, location=Location.LOCAL))
    )
    for connection in (mine, own, told):
        assert (await connection.probe()).state in {State.READY, State.IDLE}
    assert (mine.location, own.location, told.location) == (Location.CLOUD, Location.LOCAL, Location.LOCAL)


async def test_a_model_that_is_not_listed(servers: Servers, connections: Connections) -> None:
    server = servers(OpenAIServer(["gpt-4o"]))
    connection = connections(OpenAIConnection(spec_of("openai", "gpt-9", endpoint=server.url)))
    assert (await connection.probe()).state is State.UNAVAILABLE
    error = (await ask(connection)).error
    assert error is not None
    assert error.kind is ModelErrorKind.NOT_PULLED


async def test_other_servers_answer_to_names_that_they_do_not_list(
    servers: Servers, connections: Connections
) -> None:
    server = servers(OpenAIServer(["model.gguf"]))
    spec = spec_of("custom", "any", endpoint=server.url, location=Location.LOCAL)
    assert (await connections(CustomConnection(spec)).probe()).state is State.READY


async def test_the_result_of_the_last_probe_can_be_read(servers: Servers, connections: Connections) -> None:
    server = servers(OllamaServer([]))
    connection = connections(OllamaConnection(spec_of("ollama", "llama2", endpoint=server.url)))
    assert connection.status().reason == ""
    await connection.probe()
    assert connection.status().state is State.UNKNOWN
    assert "ollama pull" in connection.status().reason
    server.models.append("llama2")
    assert (await connection.probe()).state is State.IDLE
    assert connection.status().state is State.IDLE
