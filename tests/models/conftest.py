"""Connections to servers of a test's own, whichever provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp.connector
import pytest
from oblix.testing import ModelServer
from support.proxies import certificates
from support.servers.embedded import Connect, connecting
from support.servers.providers import KINDS, Kind

from oblixd.models.base import Connection


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each provider in turn."""
    return KINDS[request.param]


@pytest.fixture
def servers() -> Iterator[Callable[[ModelServer], ModelServer]]:
    """Starts servers, and stops them after the test."""
    with ExitStack() as running:
        yield running.enter_context


@pytest.fixture
def server(kind: Kind, servers: Callable[[ModelServer], ModelServer]) -> ModelServer:
    """A server of the provider's."""
    return servers(kind.server())


@pytest.fixture
async def connections() -> AsyncIterator[Callable[[Connection], Connection]]:
    """Keeps connections, and closes them after the test."""
    kept: list[Connection] = []

    def keep(connection: Connection) -> Connection:
        kept.append(connection)
        return connection

    yield keep
    for connection in kept:
        await connection.close()


@pytest.fixture
def connection(
    kind: Kind, server: ModelServer, connections: Callable[[Connection], Connection]
) -> Connection:
    """A connection to `server`."""
    return connections(kind.connect(kind.spec(server.url)))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that is trusted in this process."""
    made = certificates.make(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")
    aiohttp.connector._SSL_CONTEXT_VERIFIED.load_verify_locations(made)
    return made


@pytest.fixture(scope="session")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the embedded weights' check is noted: once for all tests."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture
async def connect_embedded(home: Path, state_dir: Path) -> AsyncIterator[Connect]:
    """Makes connections to embedded models, whose processes end with the test."""
    runtime_dir = home / "run"
    runtime_dir.mkdir(0o700)
    async with connecting(runtime_dir, state_dir) as connect:
        yield connect
