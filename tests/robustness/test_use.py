"""Ordinary use for long: nothing leaks; and what two hundred quiet clients wait beside a bare gRPC server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
from oblix.testing import OllamaServer
from oblix.v1 import daemon_pb2, daemon_pb2_grpc
from support import scale
from support.drivers.daemon import SOON, RunningDaemon, running
from support.drivers.grpc_calls import Wire
from support.drivers.waiting import eventually
from support.machine import history, traffic
from support.machine.faults import TESTS

CALLS = scale.count("USE_CALLS", full=500_000, quick=3_000)
WARM = min(CALLS // 4, 20_000)
CLIENTS = 4
SLACK = 1.05
MOST_GROWTH_MB = 24.0
"""What caches may still take after the warm-up: bounded ones fill slowly."""
SECONDS = scale.count("USE_SECONDS", full=20, quick=5)
QUIET = {"OBLIX_EMBEDDED_ENABLED": "false"}


@dataclass(frozen=True)
class Held:
    """What a process holds."""

    descriptors: int
    threads: int
    children: int
    own_mb: float

    @classmethod
    def by(cls, pid: int) -> Held:
        """Look at a process: its memory without the pages of files."""
        process = psutil.Process(pid)
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return cls(
            process.num_fds(),
            process.num_threads(),
            len(process.children()),
            int(status["RssAnon"].split()[0]) / 1e3,
        )


@contextmanager
def clients(home: Path, url: str, life: int) -> Iterator[None]:
    """Some client processes, until the block ends: then each finishes its call."""
    (home / "stop").unlink(missing_ok=True)
    command = [sys.executable, "-m", "support.machine.traffic", str(home)]
    started = [
        subprocess.Popen([*command, f"{number}-{life}", str(life * 10 + number), url], cwd=TESTS)
        for number in range(CLIENTS)
    ]
    yield
    (home / "stop").touch()
    assert [one.wait(120) for one in started] == [0] * CLIENTS


async def used(daemon: RunningDaemon, url: str, calls: int, life: int) -> Held:
    """What the daemon holds after so many calls, once all clients have gone."""
    acknowledged = history.Acknowledged(daemon.home)
    target = acknowledged.count() + calls
    with clients(daemon.home, url, life):
        while acknowledged.count() < target:  # noqa: ASYNC110 - the clients write into files
            await asyncio.sleep(0.5)
    pid = daemon.process.pid
    least = Held.by(pid).descriptors
    await eventually(lambda: Held.by(pid).descriptors <= least)
    return Held.by(pid)


async def test_nothing_grows_with_use(home: Path) -> None:
    server = OllamaServer(["llama2"])
    server.default = traffic.answers(fault_share=0.2)
    with server, running(home, **QUIET) as daemon:
        for session in traffic.SHARED:
            Wire(daemon.channel).session(id=session, title=session)
        before = await used(daemon, server.url, WARM, 1)
        after = await used(daemon, server.url, CALLS - WARM, 2)
    print(f"\n{CALLS} calls, {Counter(one.outcome for one in history.operations(home))}")
    print(f"after {WARM} calls: {before}\nafter all: {after}")
    assert after.descriptors <= before.descriptors * SLACK
    assert after.threads <= before.threads * SLACK
    assert after.children <= before.children
    assert after.own_mb <= before.own_mb * SLACK + MOST_GROWTH_MB


BARE = """
import asyncio, sys, grpc
answer = bytes.fromhex(sys.argv[2])
async def info(request, context):
    return answer
async def main():
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(info)
    service = "oblix.v1.DaemonService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"GetInfo": handler}),))
    server.add_insecure_port("unix:" + sys.argv[1])
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()
asyncio.run(main())
"""


async def waits_ms(target: str) -> list[float]:
    """What small calls of two hundred clients took, a call a second each."""
    options = [*SOON, ("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(target, options=options) for _ in range(200)]
    found: list[float] = []

    async def client(number: int, channel: grpc.aio.Channel) -> None:
        stub = daemon_pb2_grpc.DaemonServiceStub(channel)
        await stub.GetInfo(daemon_pb2.GetInfoRequest())
        await asyncio.sleep(number / len(channels))  # the pace is what is measured with
        for _ in range(SECONDS):
            began_s = time.monotonic()
            await stub.GetInfo(daemon_pb2.GetInfoRequest())
            found.append((time.monotonic() - began_s) * 1e3)
            await asyncio.sleep(max(0.0, began_s + 1.0 - time.monotonic()))

    try:
        await asyncio.gather(*(client(number, channel) for number, channel in enumerate(channels)))
    finally:
        for channel in channels:
            await channel.close()
    return sorted(found)


async def test_two_hundred_clients_beside_a_bare_server(home: Path) -> None:
    """The ratio is printed, and decides nothing: it is of this machine at this moment."""
    with running(home, **QUIET) as daemon:
        info = daemon.channel.unary_unary("/oblix.v1.DaemonService/GetInfo")(b"", timeout=60)
        command = [sys.executable, "-c", BARE, str(home / "bare.sock"), info.hex()]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as bare:  # noqa: ASYNC220 - nothing else runs yet
            assert bare.stdout is not None
            bare.stdout.readline()
            figures: dict[str, list[float]] = {"oblixd": [], "bare gRPC": []}
            for _ in range(2):
                figures["bare gRPC"] += await waits_ms(f"unix:{home}/bare.sock")
                figures["oblixd"] += await waits_ms(f"unix:{daemon.socket}")
            bare.kill()
    last = {}
    for name, found in figures.items():
        found.sort()
        last[name] = found[int(len(found) * 0.99)]
        print(
            f"\n{name}: {len(found)} calls, median {found[len(found) // 2]:.2f} ms, 99 % {last[name]:.2f} ms"
        )
    print(f"ratio of the 99th percentiles: {last['oblixd'] / last['bare gRPC']:.2f}")
    assert len(figures["oblixd"]) == len(figures["bare gRPC"]) == 2 * 200 * SECONDS
