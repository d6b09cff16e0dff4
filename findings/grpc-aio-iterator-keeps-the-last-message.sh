#!/usr/bin/env bash
# grpc.aio (Python): the request iterator of a streaming handler keeps the last message that it gave after the call.
#
# A handler of a client-streaming method is given an async iterator of the requests. Expected: once the handler has
# returned and the call is over, nothing holds its messages. Seen: the iterator is an async generator that still
# stands at its last `yield` and belongs to a cycle, so the last message of every call stays in memory until Python's
# collector of cycles runs. That counts objects and not bytes: thirty calls of 8 MB keep 240 MB. Messages that are read
# by ServicerContext.read() are let go of at once.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-input "grpcio==1.85.1"
cd "$work"
"$work/venv/bin/python" - <<'PY'
import asyncio
import gc
import weakref

import grpc

CALLS, SIZE = 5, 1_000_000


class Message:
    def __init__(self, data: bytes) -> None:
        self.data = data


async def left_after(read_one) -> tuple[int, int]:
    """How many messages live once all calls are over: before and after a run of the collector."""
    seen = []

    async def handle(requests, context):
        message = await read_one(requests, context)
        seen.append(weakref.ref(message))
        del message
        yield b"done"

    server = grpc.aio.server()
    method = grpc.stream_stream_rpc_method_handler(handle, request_deserializer=Message)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", {"Call": method}),))
    server.add_insecure_port("unix:socket")
    await server.start()
    async with grpc.aio.insecure_channel("unix:socket") as channel:
        call = channel.unary_unary("/test.Service/Call")
        for _ in range(CALLS):
            assert await call(bytes(SIZE)) == b"done"
    await asyncio.sleep(0.5)
    before = sum(ref() is not None for ref in seen)
    gc.collect()
    await asyncio.sleep(0.5)
    after = sum(ref() is not None for ref in seen)
    await server.stop(None)
    return before, after


async def by_iterator(requests, context):
    return await anext(requests)


async def by_read(requests, context):
    return await context.read()


async def main() -> None:
    gc.disable()
    print("grpcio", grpc.__version__)
    iterated, read = await left_after(by_iterator), await left_after(by_read)
    print(f"{CALLS} calls are over; messages that live: by the iterator {iterated[0]}, by read() {read[0]}")
    print(f"after gc.collect(): by the iterator {iterated[1]}, by read() {read[1]}")
    assert iterated[0] == CALLS, "the iterator lets go of its messages now"
    assert iterated[1] == 0
    assert read[0] == 0


asyncio.run(main())
PY
