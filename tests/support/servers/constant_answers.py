"""A server that is faster than any client: it answers with the same bytes, made beforehand.

python -m support.flood TOKENS [CERTIFICATE]

What a path ends with says whose format it is: Ollama's lines for /api/chat, OpenAI's
events for the rest. What it begins with says how it is sent: /paced one token after
the other, /stall the first and nothing more, /endless without an end, /short one token
and the end, else all of it at once. GET /facts tells what became of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from support.proxies import certificates

PACE_S = 0.02
"""Between two tokens of a paced answer."""


def lines(tokens: int) -> Iterator[bytes]:
    """An answer of Ollama's, a token each."""
    word = {"model": "llama2", "message": {"role": "assistant", "content": " word"}, "done": False}
    last = {**word, "message": {"role": "assistant", "content": ""}, "done": True, "eval_count": tokens}
    return (json.dumps(line).encode() + b"\n" for line in [*[word] * tokens, last])


def events(tokens: int) -> Iterator[bytes]:
    """An answer of OpenAI's, a token each."""
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
    word = {**chunk, "choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}]}
    last = {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    said = (b"data: " + json.dumps(one).encode() + b"\n\n" for one in [*[word] * tokens, last])
    return (one for one in [*said, b"data: [DONE]\n\n"])


class Flood:
    """Serves connections, and remembers what a benchmark asks for afterwards."""

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self._frames = {"lines": _chunks(lines(tokens)), "events": _chunks(events(tokens))}
        self._sent = 0
        self._closed_s = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer every request of a connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError), contextlib.closing(writer):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or b"0"))
                await self._answer(head.split()[1].decode(), reader, writer)

    async def _answer(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if path == "/facts":
            facts = json.dumps({"sent": self._sent, "closed_s": self._closed_s}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(facts), facts))
            return
        frames = self._frames["lines" if path.endswith("/api/chat") else "events"]
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        match path.split("/")[1]:
            case "paced":
                await self._paced(frames, writer)
            case "stall":
                writer.write(frames[0])
                await reader.read()
                self._closed_s = time.monotonic()
            case "endless":
                await self._endless(b"".join(frames[:100]), writer)
            case "short":
                writer.write(b"".join([frames[0], *frames[-2:]]))
            case _:
                writer.write(b"".join(frames))
        await writer.drain()

    async def _paced(self, frames: list[bytes], writer: asyncio.StreamWriter) -> None:
        for frame in frames:
            writer.write(frame)
            await writer.drain()
            await asyncio.sleep(PACE_S)

    async def _endless(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        self._sent = 0
        while True:
            writer.write(piece)
            await writer.drain()
            self._sent += len(piece)


def _chunks(frames: Iterator[bytes]) -> list[bytes]:
    chunks = [b"%x\r\n%s\r\n" % (len(frame), frame) for frame in frames]
    return [*chunks[:-1], chunks[-1] + b"0\r\n\r\n"]


async def main() -> None:
    """Serve until killed. The first line of output is the URL."""
    flood = Flood(int(sys.argv[1]))
    tls = certificates.server_side(Path(sys.argv[2])) if sys.argv[2:] else None
    listener = await asyncio.start_server(flood.serve, "127.0.0.1", 0, ssl=tls, backlog=1000)
    print(f"{'https' if tls else 'http'}://127.0.0.1:{listener.sockets[0].getsockname()[1]}", flush=True)
    await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
