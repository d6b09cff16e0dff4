"""A server that answers each request with bytes of a test's own, piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
CHUNKS = (
    b'data: {"choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
"""A chat completion that says Hello."""


@dataclass
class RawServer:
    """Plays its answers in order, the last one again and again. Numbers are pauses in seconds."""

    answers: Sequence[Sequence[bytes | float]]
    url: str = ""
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    """Path and body of what was asked."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            size = next((int(line.split(":")[1]) for line in head.split("\r\n") if "ength:" in line), 0)
            number = min(len(self.requests), len(self.answers) - 1)
            self.requests.append((head.split()[1], await reader.readexactly(size)))
            for piece in self.answers[number]:
                await self._play(piece, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # The client has gone, or the test is over.
            return
        finally:
            writer.close()

    async def _play(self, piece: bytes | float, writer: asyncio.StreamWriter) -> None:
        if isinstance(piece, bytes):
            writer.write(piece)
            await writer.drain()
        else:
            await asyncio.sleep(piece)


@asynccontextmanager
async def playing(*answers: Sequence[bytes | float]) -> AsyncIterator[RawServer]:
    """Serve on loopback for as long as the block lasts."""
    server = RawServer(answers)
    async with await asyncio.start_server(server.handle, "127.0.0.1", 0) as listener:
        server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        yield server


def refusal(status: int, body: bytes) -> list[bytes | float]:
    """An answer that is a refusal."""
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return [head.encode() + b"Connection: close\r\n\r\n" + body]
