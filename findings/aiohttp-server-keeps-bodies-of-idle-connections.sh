#!/usr/bin/env bash
# aiohttp: a server keeps the newest request's body and the newest answer's body of each idle keep-alive connection.
#
# Forty clients post 1 MB each, get 1 MB each, and keep their connections. Guess before running: when an answer was sent,
# request and response are freed, and an idle connection costs some kilobytes. Seen: both stay in the frame of the
# protocol's task until the connection's next request (one tiny request on each frees them), or until the keep-alive
# timeout, an hour by default. uvicorn with Starlette, given the same, frees them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-input "aiohttp==3.14.5" "uvicorn==0.38.0" "starlette==0.50.0"
"$work/venv/bin/python" - <<'PY'
import asyncio
import gc
import tracemalloc

import aiohttp
import uvicorn
from aiohttp import web
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

CLIENTS, SIZE = 40, 1_000_000
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % SIZE
SMALL = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


async def ask(connection, request, body):
    reader, writer = connection
    writer.write(request)
    writer.write(body)
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length:")[2].split()[0])
    while size:
        size -= len(await reader.read(size))


def held_mb():
    gc.collect()
    return tracemalloc.get_traced_memory()[0] / 1e6


async def measure(port):
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CLIENTS)]
    for one in connections:
        await ask(one, SMALL, b"")
    await asyncio.sleep(0.2)
    before = held_mb()
    for one in connections:
        await ask(one, POST, bytes(SIZE))
    await asyncio.sleep(0.2)
    idle = held_mb() - before
    for one in connections:
        await ask(one, SMALL, b"")
    await asyncio.sleep(0.2)
    after = held_mb() - before
    for _, writer in connections:
        writer.close()
    return idle, after


async def with_aiohttp():
    async def answer(request):
        size = len(await request.read())
        return web.Response(body=bytes(size))

    app = web.Application(client_max_size=2 * SIZE)
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        return await measure(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def with_uvicorn():
    async def answer(request):
        size = len(await request.body())
        return Response(bytes(size))

    app = Starlette(routes=[Route("/", answer, methods=["POST"])])
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", timeout_keep_alive=60, http="h11")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        return await measure(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await task


async def main():
    tracemalloc.start()
    print("aiohttp", aiohttp.__version__, "uvicorn", uvicorn.__version__)
    seen = {}
    for name, run in (("aiohttp", with_aiohttp), ("uvicorn", with_uvicorn)):
        idle, after = seen[name] = await run()
        print(f"{name}: {CLIENTS} idle connections hold {idle:.1f} MB; after a small request on each {after:.1f} MB")
    assert seen["aiohttp"][0] > 1.9 * CLIENTS * SIZE / 1e6, "it frees them now"
    assert seen["aiohttp"][1] < 2
    assert seen["uvicorn"][0] < 2


asyncio.run(main())
PY
