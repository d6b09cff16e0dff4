"""A chat completions server that costs next to nothing: its answers are bytes that were made before.

`python -m benchmarks.fast_server` listens on a free port and prints its URL. The model's name says what it
answers: `short` two tokens at once; `tokens-N` N tokens, sixteen a write; `single-N` N tokens, one a write;
`open` one token, and then nothing until the client goes.
"""

from __future__ import annotations

import asyncio
import json
import re
from functools import cache

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    b"Connection: keep-alive\r\n\r\n"
)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_MODEL = re.compile(rb'"model": *"([^"]+)"')
GROUP = 16
"""Tokens in one write of `tokens-N`."""


def token(number: int) -> str:
    """Return the token of this number: no two neighbours are the same, so that a lost one shows."""
    return f" {number:x}"


@cache
def answer(model: str) -> tuple[bytes, ...]:
    """Return the writes of an answer."""
    if model == "open":
        begun = _event({"delta": {"content": token(0)}})
        return (_HEAD + b"%x\r\n%s\r\n" % (len(begun), begun),)
    kind, _, count = model.partition("-")
    size = 2 if kind == "short" else int(count)
    group = 1 if kind == "single" else GROUP
    events = [_event({"delta": {"content": token(number)}}) for number in range(size)]
    writes = [b"".join(events[at : at + group]) for at in range(0, size, group)]
    usage = {"prompt_tokens": 5, "completion_tokens": size, "total_tokens": size + 5}
    end = _event({"delta": {}, "finish_reason": "stop"}) + _data({"choices": [], "usage": usage})
    writes.append(end + b"data: [DONE]\n\n")
    chunks = [b"%x\r\n%s\r\n" % (len(write), write) for write in writes]
    chunks[-1] += b"0\r\n\r\n"
    if kind == "short":
        return (_HEAD + b"".join(chunks),)
    return (_HEAD + chunks[0], *chunks[1:])


async def serve() -> None:
    """Serve until the process ends."""
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length[1])) if length else b""
            model = _MODEL.search(body)
            for write in answer(model[1].decode() if model else "short"):
                writer.write(write)
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def _event(choice: dict[str, object]) -> bytes:
    return _data({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, **choice}]})


def _data(value: object) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


if __name__ == "__main__":
    asyncio.run(serve())
