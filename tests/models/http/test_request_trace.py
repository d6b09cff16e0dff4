"""Every exchange with a server is reported once: how long it took, and how the way there failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from oblix.testing import Answer, Cut, Fault, Hang, HangUp, ModelServer, OpenAIServer, Page, Refuse, Stall
from support.drivers.model_requests import ask, question
from support.faults import bad_ports
from support.proxies.tcp_proxy import door
from support.servers.providers import KINDS, impatient

from oblixd.models.base import Connection, ModelErrorKind, State
from oblixd.models.http.request_trace import RequestObservation
from oblixd.models.http.server import Timeouts

Servers = Callable[[ModelServer], ModelServer]
Connect = Callable[..., Connection]
KIND = KINDS["openai"]
PATIENT = Timeouts()
LONGEST_MS = 60_000
"""Far more than it takes on a busy machine."""


@pytest.fixture
def observations() -> list[RequestObservation]:
    return []


@pytest.fixture
def server(servers: Servers) -> ModelServer:
    return servers(OpenAIServer())


@pytest.fixture
def connect(
    connections: Callable[[Connection], Connection], observations: list[RequestObservation]
) -> Connect:
    def connect(url: str, timeouts: Timeouts = PATIENT) -> Connection:
        return connections(KIND.connect(KIND.spec(url), timeouts=timeouts, on_exchange=observations.append))

    return connect


async def test_an_answer_shows_how_long_the_way_is(
    server: ModelServer, connect: Connect, observations: list[RequestObservation]
) -> None:
    connection = connect(server.url)
    server.script(Answer("One", first_token_s=0.02), Answer("Two"))
    for _ in range(2):
        assert (await ask(connection)).error is None
    first, second = observations
    assert first.origin == connection.origin == f"http://127.0.0.1:{server.port}"
    assert first.connect_ms is not None
    assert 0 < first.connect_ms < LONGEST_MS
    assert second.connect_ms is None
    for exchange in observations:
        assert exchange.failure == ""
        assert exchange.first_byte_ms is not None
        assert exchange.body_bytes == 0, "a streamed answer comes as it is written"


async def test_a_document_shows_what_the_network_carries(
    server: ModelServer, connect: Connect, observations: list[RequestObservation]
) -> None:
    server.models.extend(f"model-{number}" for number in range(1000))
    assert (await connect(server.url).probe()).state is State.READY
    [exchange] = observations
    assert exchange.body_bytes > 10_000
    assert 0 < exchange.body_s < LONGEST_MS / 1000


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (Hang(), "silent"),
        (HangUp(), "lost"),
        (HangUp(reset=True), "lost"),
        (Cut(1), "lost"),
        (Stall(1), "stalled"),
        (Page(), "elsewhere"),
        (Refuse(302, "", {"Location": "http://portal/"}), "elsewhere"),
        (Refuse(500), ""),
        (Refuse(429), ""),
    ],
    ids=str,
)
async def test_how_an_exchange_failed(
    server: ModelServer, connect: Connect, observations: list[RequestObservation], fault: Fault, failure: str
) -> None:
    limit = {"silent": "first_s", "stalled": "stall_s"}.get(failure)
    server.script(Answer("One two three", fault=fault))
    assert (await ask(connect(server.url, impatient(limit) if limit else PATIENT))).error is not None
    assert [exchange.failure for exchange in observations] == [failure]


async def test_how_a_connection_failed(
    server: ModelServer, connect: Connect, observations: list[RequestObservation]
) -> None:
    with bad_ports.unheard() as port:
        urls = {
            f"http://127.0.0.1:{port}": "refused",
            "http://no-such-host.invalid": "dns",
            f"https://127.0.0.1:{server.port}": "tls",
        }
        for url in urls:
            assert (await ask(connect(url))).error is not None
    assert [exchange.failure for exchange in observations] == list(urls.values())
    assert all(exchange.connect_ms is None and exchange.first_byte_ms is None for exchange in observations)


async def test_a_certificate_for_another_host(
    server: ModelServer, connect: Connect, observations: list[RequestObservation], certificate: Path
) -> None:
    async with door(server.url.removesuffix("/v1"), certificate, host="127.0.0.2") as (_, url):
        error = (await ask(connect(url))).error
    assert error is not None
    assert "TLS failed" in error.message
    assert observations[0].failure == "tls"


async def test_a_request_that_we_end_is_no_failure(
    server: ModelServer, connect: Connect, observations: list[RequestObservation]
) -> None:
    connection = connect(server.url, Timeouts())
    server.script(*(Answer("One two", fault=fault) for fault in (Hang(), Stall(1), Hang())))
    for count in (1, 2):
        asking = asyncio.create_task(ask(connection))
        await asyncio.to_thread(server.wait_for_requests, count)
        asking.cancel()
        await asyncio.wait([asking])
    asking = asyncio.create_task(ask(connection))
    await asyncio.to_thread(server.wait_for_requests, 3)
    await connection.close()
    await asking
    assert {exchange.failure for exchange in observations} == {""}


async def test_an_unsupported_call_says_nothing_of_the_server(
    servers: Servers, connections: Callable[[Connection], Connection], observations: list[RequestObservation]
) -> None:
    kind = KINDS["claude"]
    server = servers(kind.server())
    connection = connections(kind.connect(kind.spec(server.url), on_exchange=observations.append))
    assert (await ask(connection)).error is None
    before, reported = connection.status(), len(observations)
    error = (await ask(connection, question(seed=1))).error
    assert error is not None
    assert error.kind is ModelErrorKind.REFUSED
    assert connection.status() == before
    assert len(observations) == reported
