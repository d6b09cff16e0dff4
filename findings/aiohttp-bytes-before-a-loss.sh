#!/usr/bin/env bash
# aiohttp: bytes that have arrived are not given when the connection was lost before they were read.
#
# A server sends two chunks of a stream and goes away; the reader is busy for a moment. Expected, as with the
# standard library and httpx: the reader gets what had arrived, then the error. Seen: `readany()` raises at once, and so
# do `read()` and a loop over `iter_any()`. The bytes are still in the reader's buffer; no public method gives them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-input "aiohttp==3.14.5" "httpx==0.28.1"
"$work/venv/bin/python" - <<'PY'
import asyncio

import aiohttp
import httpx

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def serve(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HEAD + b"3\r\none\r\n" + b"3\r\ntwo\r\n")
    await writer.drain()
    writer.close()


async def with_aiohttp(url, read):
    got = b""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        await asyncio.sleep(0.3)
        try:
            while data := await read(response.content):
                got += data
        except aiohttp.ClientPayloadError as error:
            held = b"".join(response.content._buffer)
            return got, held, type(error).__name__
    raise SystemExit("the loss is no error now")


async def with_httpx(url):
    got = b""
    async with httpx.AsyncClient() as client, client.stream("GET", url) as response:
        await asyncio.sleep(0.3)
        try:
            async for data in response.aiter_raw():
                got += data
        except httpx.RemoteProtocolError as error:
            return got, type(error).__name__
    raise SystemExit("the loss is no error now")


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    print("aiohttp", aiohttp.__version__, "httpx", httpx.__version__)
    results = {}
    for name in ("readany", "read"):
        results[name] = await with_aiohttp(url, lambda content, name=name: getattr(content, name)())
        print(f"aiohttp {name}(): given {results[name][0]!r}, in its buffer {results[name][1]!r}, {results[name][2]}")
    other = await with_httpx(url)
    print(f"httpx aiter_raw(): given {other[0]!r}, {other[1]}")
    server.close()
    assert all(got == b"" and held == b"onetwo" for got, held, _ in results.values()), "it gives them now"
    assert other[0] == b"onetwo"


asyncio.run(main())
PY
