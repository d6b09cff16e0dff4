"""A company's network, and a daemon that its configuration file leads through it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from oblix import OblixClient
from support.companies import Authority, Proxy, proxy
from support.drivers.daemon import run_daemon

Configured = Callable[..., AbstractAsyncContextManager[OblixClient]]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The company's own certificate authority."""
    return Authority(tmp_path)


@pytest.fixture
def company_proxy(tmp_path: Path) -> Iterator[Proxy]:
    """The company's proxy, which wants a user and a password."""
    with proxy(tmp_path, user="worker:canary-of-the-proxy") as made:
        yield made


@pytest.fixture
def servers() -> Iterator[Callable[[Any], Any]]:
    """Starts servers, and stops them after the test."""
    with ExitStack() as started:
        yield started.enter_context


@pytest.fixture
def configured_client(home: Path) -> Configured:
    """Gives a client of a daemon with this configuration file and environment."""

    @asynccontextmanager
    async def serve(text: str, **environ: str) -> AsyncIterator[OblixClient]:
        (home / "config.toml").write_text(text, "utf-8")
        with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false", **environ):
            async with OblixClient() as client:
                yield client

    return serve


@pytest.fixture(scope="module")
def unconfigured_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a daemon that no configuration leads, for all tests that hook models of their own."""
    home = tmp_path_factory.mktemp("unconfigured_client")
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false"):
        yield home


@pytest.fixture
async def unconfigured_client(
    unconfigured_home: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[OblixClient]:
    """A client of that daemon."""
    monkeypatch.setenv("OBLIX_HOME", str(unconfigured_home))
    async with OblixClient() as client:
        yield client
