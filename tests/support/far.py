"""A model's server at the far end of a cable: `python -m support.far ADDRESS PORT`.

With `--proxy` it is a company's proxy instead, which knows names that nobody else knows.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from urllib.parse import urlsplit

from oblix.testing import OpenAIServer
from support.companies import PROXY


async def relay(address: str, port: int, url: str) -> None:
    """Pass on what comes to the address until the process is ended."""
    target = urlsplit(url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer), return_exceptions=True)

    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    async with await asyncio.start_server(serve, address, port, family=family) as server:
        print("ready", flush=True)
        await server.serve_forever()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on in one direction until it ends."""
    while piece := await reader.read(1 << 16):
        writer.write(piece)
        await writer.drain()
    writer.close()


def main() -> None:
    """Serve until the process is ended."""
    address, port = sys.argv[1], int(sys.argv[2])
    if sys.argv[3:] == ["--proxy"]:
        words = ["--hostname", address, "--port", str(port + 1), "--num-workers", "1", "--num-acceptors", "1"]
        sys.argv = ["proxy", *words]
        print("ready", flush=True)
        exec(PROXY, {"__name__": "proxy_main"})
    with OpenAIServer(["gpt"]) as server:
        asyncio.run(relay(address, port, server.url))


if __name__ == "__main__":
    main()
