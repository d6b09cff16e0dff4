"""A prompt does not go round: a daemon is no model's server, nor is one that leads back to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from oblix import InvalidArgumentError, OblixClient, OblixError
from support.endpoint import Served
from support.proxies.tcp_proxy import door


@pytest.fixture
async def client(shared_endpoint: Served, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OblixClient]:
    monkeypatch.setenv("OBLIX_HOME", str(shared_endpoint.daemon.home))
    async with OblixClient() as made:
        yield made


async def test_the_daemon_s_own_endpoint_is_refused(shared_endpoint: Served, client: OblixClient) -> None:
    for host in ("127.0.0.1", "localhost", "0.0.0.0"):
        url = shared_endpoint.url.replace("127.0.0.1", host)
        with pytest.raises(InvalidArgumentError, match="is this daemon itself"):
            await client.hook_model("custom", "small", endpoint=f"{url}/v1", location="cloud")


async def test_a_way_back_to_the_daemon_ends_at_its_endpoint(
    shared_endpoint: Served, client: OblixClient
) -> None:
    async with door(shared_endpoint.url) as (_, url):
        await client.hook_model(
            "custom", "small", endpoint=f"{url}/v1", location="cloud", api_key=shared_endpoint.token
        )
        with pytest.raises(OblixError, match="came from this daemon itself"):
            await client.execute("Hello", stream=False)
    assert not shared_endpoint.server.requests
