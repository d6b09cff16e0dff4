"""A daemon and a model server for the tests of one file, and a client to look at what is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from oblix import OblixClient
from oblix.testing import OpenAIServer
from support.drivers.daemon import run_daemon


@pytest.fixture(scope="module")
def daemon_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("protocols")
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false"):
        yield home


@pytest.fixture(autouse=True)
def _in_its_home(daemon_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBLIX_HOME", str(daemon_home))


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(["toy"]) as server:
        yield server


@pytest.fixture
def model(server: OpenAIServer) -> tuple[str, ...]:
    """The options that name the server's model."""
    return ("--model", "custom:toy", "--endpoint", server.url)


@pytest.fixture
async def client() -> AsyncIterator[OblixClient]:
    async with OblixClient() as client:
        yield client
