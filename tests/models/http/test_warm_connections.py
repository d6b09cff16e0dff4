"""The connection is open before the prompt comes, and is opened again after a drop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from oblix.testing import Answer, Cut, ModelServer, OpenAIServer
from support.drivers.model_requests import ask
from support.drivers.waiting import eventually
from support.faults import bad_ports
from support.proxies.tcp_proxy import door
from support.servers.providers import KINDS

from oblixd.models.base import Connection
from oblixd.models.http import client
from oblixd.models.http.client import next_pause_s
from oblixd.models.http.request_trace import RequestObservation

Servers = Callable[[ModelServer], ModelServer]
Connections = Callable[[Connection], Connection]
KIND = KINDS["openai"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for."""
    monkeypatch.setattr(client, "FIRST_PAUSE_S", 0.005)
    monkeypatch.setattr(client, "LONGEST_PAUSE_S", 0.02)


@pytest.fixture
def server(servers: Servers) -> ModelServer:
    return servers(OpenAIServer())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_prompt_finds_a_connection_open(
    server: ModelServer, connections: Connections, certificate: Path, tls: bool
) -> None:
    seen: list[RequestObservation] = []
    async with door(server.url.removesuffix("/v1"), certificate if tls else None) as (watched, url):
        connection = connections(KIND.connect(KIND.spec(url), on_exchange=seen.append))
        connection.keep_warm()
        await eventually(lambda: len(seen) == 1)
        assert seen[0].connect_ms is not None
        assert (seen[0].first_byte_ms, seen[0].failure) == (None, "")
        await eventually(lambda: watched.open == 1)
        assert server.calls == [], "nothing is sent"
        assert (await ask(connection)).error is None
        assert watched.opened == 1
        assert seen[1].connect_ms is None
        assert seen[1].first_byte_ms is not None
        await connection.close()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_connection_that_the_server_drops_is_opened_again(
    server: ModelServer, connections: Connections, quick: None, certificate: Path, tls: bool
) -> None:
    async with door(server.url.removesuffix("/v1"), certificate if tls else None) as (watched, url):
        connection = connections(KIND.connect(KIND.spec(url)))
        connection.keep_warm()
        for count in (1, 2, 3):
            await eventually(lambda count=count: watched.opened == count and watched.open == 1)
            watched.drop()
        await eventually(lambda: watched.opened == 4)
        await connection.close()
        await eventually(lambda: watched.open == 0)
        assert watched.opened == 4


async def test_a_connection_that_broke_in_use_is_opened_again(
    server: ModelServer, connections: Connections, quick: None
) -> None:
    server.script(Answer("One two three", fault=Cut(1)))
    async with door(server.url.removesuffix("/v1")) as (watched, url):
        connection = connections(KIND.connect(KIND.spec(url)))
        connection.keep_warm()
        await eventually(lambda: watched.open == 1)
        assert (await ask(connection)).error is not None
        await eventually(lambda: watched.opened == 2 and watched.open == 1)
        await connection.close()


async def test_a_server_that_comes_later_is_met(connections: Connections, quick: None) -> None:
    with bad_ports.unheard() as port:
        seen: list[RequestObservation] = []
        connection = connections(KIND.connect(KIND.spec(f"http://127.0.0.1:{port}"), on_exchange=seen.append))
        connection.keep_warm()
        await eventually(lambda: len(seen) >= 3)
        assert {exchange.failure for exchange in seen} == {"refused"}
        assert connection.status().reason == "", "nobody asked anything yet"
    with OpenAIServer(port=port):
        await eventually(lambda: seen[-1].failure == "")
        await connection.close()


async def test_asking_for_warmth_again_does_not_wait(
    server: ModelServer, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE_S", 1e6)
    async with door(server.url.removesuffix("/v1")) as (watched, url):
        connection = connections(KIND.connect(KIND.spec(url)))
        connection.keep_warm()
        await eventually(lambda: watched.open == 1)
        watched.drop()
        await eventually(lambda: watched.open == 0)
        connection.keep_warm()
        await eventually(lambda: watched.opened == 2)
        await connection.close()
        connection.keep_warm()
        await eventually(lambda: watched.open == 0)
        assert asyncio.all_tasks() == {asyncio.current_task()}


def test_pauses_grow_while_connections_fail_or_do_not_last() -> None:
    pauses = [0.5]
    for lasted_s in (0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 30.0, 0.0):
        pauses.append(next_pause_s(pauses[-1], lasted_s))
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 1.0, 2.0]
