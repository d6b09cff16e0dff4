"""Four HTTP libraries behind one kind of seam: reads as they come, and who leaves closes the connection."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import httpx
import httpx2
import httpx_aiohttp

MOST = 1000
"""Connections at once: none of them waits for a place."""


class Client(ABC):
    """One library's client."""

    name: str

    @abstractmethod
    def reads(self, url: str, body: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        """Post and yield what comes. Closing the generator closes the connection."""

    @abstractmethod
    async def get(self, url: str) -> dict[str, Any]:
        """Read a JSON document."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of all connections."""


class Aiohttp(Client):
    """aiohttp as our seam has it."""

    name = "aiohttp"

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=5),
        )

    async def reads(self, url: str, body: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        """See `Client.reads`."""
        async with self._session.post(url, json=body) as response:
            while read := await response.content.readany():
                yield read

    async def get(self, url: str) -> dict[str, Any]:
        """See `Client.get`."""
        async with self._session.get(url) as response:
            return await response.json(content_type=None)

    async def close(self) -> None:
        """See `Client.close`."""
        await self._session.close()


class Httpx(Client):
    """httpx, or what has its interface."""

    name = "httpx"

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._client = self._make(tls)

    def _make(self, tls: ssl.SSLContext) -> Any:
        limits = httpx.Limits(max_connections=MOST, max_keepalive_connections=MOST)
        return httpx.AsyncClient(verify=tls, limits=limits, timeout=_TIMEOUT)

    async def reads(self, url: str, body: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        """See `Client.reads`."""
        stream: AbstractAsyncContextManager[Any] = self._client.stream("POST", url, json=body)
        async with stream as response:
            async for read in response.aiter_raw():
                yield read

    async def get(self, url: str) -> dict[str, Any]:
        """See `Client.get`."""
        return (await self._client.get(url)).json()

    async def close(self) -> None:
        """See `Client.close`."""
        await self._client.aclose()


class Httpx2(Httpx):
    """httpx2, its successor."""

    name = "httpx2"

    def _make(self, tls: ssl.SSLContext) -> Any:
        limits = httpx2.Limits(max_connections=MOST, max_keepalive_connections=MOST)
        return httpx2.AsyncClient(verify=tls, limits=limits, timeout=_TIMEOUT)


class HttpxAiohttp(Httpx):
    """httpx's interface over aiohttp's connections."""

    name = "httpx-aiohttp"

    def _make(self, tls: ssl.SSLContext) -> Any:
        limits = httpx.Limits(max_connections=MOST, max_keepalive_connections=MOST)
        return httpx_aiohttp.HttpxAiohttpClient(verify=tls, limits=limits, timeout=_TIMEOUT)


_TIMEOUT = 60.0
CLIENTS: tuple[type[Client], ...] = (Aiohttp, Httpx, Httpx2, HttpxAiohttp)
