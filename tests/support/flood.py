"""A server that is faster than any client: it answers every request with the same bytes, made beforehand.

python -m support.flood TOKENS
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys


def answer(tokens: int) -> bytes:
    """An answer of Ollama's in HTTP chunks, one a token."""
    word = {"model": "llama2", "message": {"role": "assistant", "content": " word"}, "done": False}
    last = {**word, "message": {"role": "assistant", "content": ""}, "done": True, "eval_count": tokens}
    lines = [json.dumps(line).encode() + b"\n" for line in [*[word] * tokens, last]]
    body = b"".join(b"%x\r\n%s\r\n" % (len(line), line) for line in lines)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + body + b"0\r\n\r\n"


async def main() -> None:
    """Serve until killed. The first line of output is the URL."""
    whole = answer(int(sys.argv[1]))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError), contextlib.closing(writer):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
                writer.write(whole)
                await writer.drain()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", flush=True)
    await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
