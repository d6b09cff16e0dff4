"""What servers that speak OpenAI's calls tell of their limits, each in its own words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from oblix.testing import ModelServer, OpenAIServer
from oblix.testing.exchange import Exchange
from oblix.v1 import messages_pb2
from support.drivers.model_requests import ask, message
from support.servers.llama_server import serving

from oblixd.models.base import Connection, Location, State
from oblixd.models.egress import allow_all
from oblixd.models.embedded.weights import find
from oblixd.models.hook_spec import spec_of
from oblixd.models.providers.custom import CustomConnection

Connect = Callable[..., Connection]


class Lists(OpenAIServer):
    """A server whose list of models says more, or is missing."""

    def __init__(self, listed: list[dict[str, Any]] | None) -> None:
        super().__init__(["any"])
        self._listed = listed

    def route(self, exchange: Exchange) -> None:
        if exchange.received.path != "/v1/models":
            super().route(exchange)
        elif self._listed is None:
            exchange.send(404, self.error(404, "there is no list"))
        else:
            exchange.send_json(200, {"object": "list", "data": self._listed})


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    with serving(find(None).path) as url:
        yield url


@pytest.fixture
def connect(connections: Callable[[Connection], Connection]) -> Connect:
    def connect(url: str, **options: object) -> Connection:
        spec = spec_of("custom", "any", endpoint=url, location=Location.LOCAL, options=options)
        return connections(CustomConnection(spec))

    return connect


async def test_llama_cpp_tells_all(llama: str, connect: Connect) -> None:
    connection = connect(llama)
    assert (connection.context_window, connection.max_running) == (None, None)
    [count] = await connection.count_tokens([message(messages_pb2.ROLE_USER, "Hello world")], allow_all) or [
        0
    ]
    assert count > 2
    assert (connection.context_window, connection.max_running) == (2048, 1)


async def test_the_hook_knows_better(llama: str, connect: Connect) -> None:
    connection = connect(llama, context_window=100, max_running=3)
    assert (await connection.probe()).state is State.READY
    assert (connection.context_window, connection.max_running) == (100, 3)


@pytest.mark.parametrize(
    ("listed", "window"),
    [
        ([{"id": "any", "max_model_len": 4096}], 4096),
        ([{"id": "any", "context_length": 8192}, {"id": "other", "context_length": 1}], 8192),
        ([{"id": "any", "context_window": 131072}], 131072),
        ([{"id": "any", "max_context_length": 32768}], 32768),
        ([{"id": "any", "meta": {"n_ctx": 512}}], 512),
        ([{"id": "the-only.gguf", "max_model_len": 4096}], 4096),
        ([{"id": "one", "max_model_len": 1}, {"id": "two", "max_model_len": 2}], None),
        ([{"id": "any", "max_model_len": "much"}], None),
        ([{"id": "any", "meta": {"n_ctx": 0}}], None),
        ([], None),
        (None, None),
    ],
)
async def test_others_tell_in_their_own_words(
    connect: Connect,
    servers: Callable[[ModelServer], ModelServer],
    listed: list[dict[str, Any]] | None,
    window: int | None,
) -> None:
    server = servers(Lists(listed))
    connection = connect(server.url)
    for _ in range(2):
        assert await connection.count_tokens([message(messages_pb2.ROLE_USER, "Hello")], allow_all) is None
    assert connection.context_window == window
    assert [received.path for received in server.calls] == ["/v1/models"], "asked once, and for no tokens"


async def test_a_server_that_is_away_is_asked_again(
    connect: Connect, servers: Callable[[ModelServer], ModelServer]
) -> None:
    server = servers(Lists([{"id": "any", "max_model_len": 4096}]))
    port = server.port
    server.close()
    connection = connect(f"http://127.0.0.1:{port}")
    await connection.confirm_location()
    assert connection.context_window is None
    with OpenAIServer(["any"], port=port):
        await connection.confirm_location()
        assert (await ask(connection)).error is None
