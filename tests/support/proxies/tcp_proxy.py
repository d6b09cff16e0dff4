"""A door before a server: TLS where it is wanted, connections that a test counts and drops."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from support.proxies import certificates

PIECE_BYTES = 1 << 16


class Door:
    """Passes bytes on, both ways; what one side closes is closed for the other."""

    def __init__(self, url: str) -> None:
        self.opened = 0
        """Connections that were opened, TLS included."""
        self._target = urlsplit(url)
        self._inside: set[asyncio.StreamWriter] = set()

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return len(self._inside)

    def drop(self) -> None:
        """Close all connections, as a server does with idle ones."""
        for writer in self._inside:
            writer.close()

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.opened += 1
        self._inside.add(writer)
        try:
            inner = await asyncio.open_connection(self._target.hostname, self._target.port)
            ways = [
                asyncio.create_task(_pump(reader, inner[1])),
                asyncio.create_task(_pump(inner[0], writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            inner[1].close()
        finally:
            self._inside.discard(writer)
            writer.close()


@asynccontextmanager
async def door(
    url: str, certificate: Path | None = None, *, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[Door, str]]:
    """Give a door before this server, and its own URL; with a certificate it speaks TLS."""
    made = Door(url)
    tls = certificates.server_side(certificate) if certificate else None
    async with await asyncio.start_server(made.pass_on, host, 0, ssl=tls) as listener:
        yield made, f"{'https' if tls else 'http'}://{host}:{listener.sockets[0].getsockname()[1]}"
        made.drop()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
