#!/usr/bin/env bash
# grpc.aio (Python): a burst of calls that a busy server has not taken in yet is partly answered with CANCELLED.
#
# A server's event loop is busy for some seconds, and 5,000 calls arrive. Expected: they wait, for the client gave
# them two minutes; or those that are too many fail with RESOURCE_EXHAUSTED or UNAVAILABLE, upon which a client may
# send them again. Seen: beyond 1,000 calls that nobody has taken in, gRPC drops some, beyond 3,000 all, and the
# client is told CANCELLED with the details "CANCELLED": the status of a call that the client itself gave up. The
# server's program hears nothing of them. With grpc.server.max_pending_requests and ..._hard_limit raised all wait.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-input "grpcio==1.85.1"
cd "$work"
"$work/venv/bin/python" - <<'PY'
import asyncio
import threading
import time
from collections import Counter

import grpc

CALLS, BUSY_S = 5_000, 4.0
RAISED = (("grpc.server.max_pending_requests", 50_000), ("grpc.server.max_pending_requests_hard_limit", 50_000))


async def serve(options, started, ended) -> None:
    async def handle(request, context):
        return b""

    server = grpc.aio.server(options=options)
    method = grpc.unary_unary_rpc_method_handler(handle)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", {"Call": method}),))
    server.add_insecure_port("unix:socket")
    await server.start()
    started.set()
    await asyncio.sleep(0.5)
    time.sleep(BUSY_S)
    await asyncio.to_thread(ended.wait)
    await server.stop(0)


def burst(options) -> Counter[str]:
    started, ended = threading.Event(), threading.Event()
    server = threading.Thread(target=lambda: asyncio.run(serve(options, started, ended)))
    server.start()
    started.wait()
    with grpc.insecure_channel("unix:socket", (("grpc.use_local_subchannel_pool", 1),)) as channel:
        call = channel.unary_unary("/test.Service/Call")
        call(b"")
        time.sleep(0.7)
        futures = [call.future(b"", timeout=120) for _ in range(CALLS)]
        codes = Counter(future.code().name for future in futures)
    ended.set()
    server.join()
    return codes


print("grpcio", grpc.__version__)
usual, raised = burst(()), burst(RAISED)
print(f"{CALLS} calls to a loop that is busy for {BUSY_S:g} s: {dict(usual)}; with higher limits: {dict(raised)}")
assert set(usual) == {"OK", "CANCELLED"}, "the status is another one now"
assert raised == {"OK": CALLS}
PY
