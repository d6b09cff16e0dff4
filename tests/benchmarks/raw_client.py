"""A client that costs next to nothing, so that a server's own speed shows."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

_CONTENT = {
    "/v1/chat/completions": re.compile(rb'"content": ?"((?:[^"\\]|\\.)*)"'),
    "/api/chat": re.compile(rb'"content": ?"((?:[^"\\]|\\.)*)"'),
    "/v1/messages": re.compile(rb'"text_delta", ?"text": ?"((?:[^"\\]|\\.)*)"'),
}
"""Where an API's stream has its text."""


@dataclass(frozen=True, slots=True)
class Result:
    """One answer."""

    first_ms: float
    """Until the first byte of content."""
    text: str


class RawClient:
    """One connection that asks again and again."""

    def __init__(self, url: str, path: str, token: str = "") -> None:
        place = urlsplit(url)
        self._content = _CONTENT[path]
        self._address = (place.hostname or "", place.port or 80)
        self._head = (
            f"POST {place.path}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {token}\r\nContent-Length: "
        )
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, model: str, text: str = "hello") -> Result:
        """Ask once, and read the whole answer."""
        # Servers close what is idle; uvicorn, which LiteLLM runs on, after five seconds.
        if self._streams is None or self._streams[0].at_eof():
            self._streams = await asyncio.open_connection(*self._address, limit=1 << 22)
        reader, writer = self._streams
        body = json.dumps(
            {
                "model": model,
                "stream": True,
                "max_tokens": 1_000_000,
                "messages": [{"role": "user", "content": text}],
            }
        ).encode()
        began = time.perf_counter()
        writer.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise AssertionError(head.decode())
        data, first_ms = bytearray(), 0.0
        while not data.endswith(b"0\r\n\r\n"):
            piece = await reader.read(1 << 20)
            if not piece:
                raise AssertionError(f"cut after {len(data)} bytes")
            data += piece
            if not first_ms and self._content.search(data):
                first_ms = (time.perf_counter() - began) * 1e3
        found = (json.loads(b'"%s"' % text) for text in self._content.findall(bytes(data)))
        return Result(first_ms, "".join(found))

    async def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
