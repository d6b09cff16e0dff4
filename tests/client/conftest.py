"""Clients of real daemons, and a model server that they can hook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from oblix import ModelType, OblixClient
from oblix.testing import OllamaServer
from support.drivers.daemon import run_daemon


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a daemon without models, for the tests of one file that leave it as it was."""
    home = tmp_path_factory.mktemp("client")
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false"):
        yield home


@pytest.fixture
def client(shared_home: Path, monkeypatch: pytest.MonkeyPatch) -> OblixClient:
    """A client of the shared daemon."""
    monkeypatch.setenv("OBLIX_HOME", str(shared_home))
    return OblixClient()


@pytest.fixture
def ollama() -> Iterator[OllamaServer]:
    """A model server. It has llama2 and echoes what nobody scripted."""
    with OllamaServer(["llama2"]) as server:
        yield server


@pytest.fixture
async def hooked_client(client: OblixClient, ollama: OllamaServer) -> OblixClient:
    """A client of the shared daemon with one model."""
    await client.hook_model(ModelType.OLLAMA, "llama2", endpoint=ollama.url)
    return client


@pytest.fixture
async def launching(home: Path, ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> OblixClient:
    """A client of no daemon yet: it starts one in the test's own home. It has one model."""
    monkeypatch.setenv("OBLIX_EMBEDDED_ENABLED", "false")
    client = OblixClient()
    await client.hook_model(ModelType.OLLAMA, "llama2", endpoint=ollama.url)
    return client
