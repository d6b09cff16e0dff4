"""What reaches an open port: other protocols, noise, slow senders, and thousands who never say a word."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles

import grpc
import psutil
import pytest
from oblix.v1 import daemon_pb2, daemon_pb2_grpc
from support import scale
from support.drivers.daemon import RunningDaemon, running
from support.drivers.waiting import eventually

HALF_OPEN = 500 if scale.QUICK else 5_000
SPARE_FILES = 100
"""Descriptors that a daemon may have more of after a while than before: channels that are just closing."""
CLIENTS, ROUNDS = (20, 3) if scale.QUICK else (200, 10)
HTTP_1 = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
TLS_HELLO = bytes.fromhex("160301009d010000990303") + bytes(150)
NOISE = [HTTP_1, TLS_HELLO, os.urandom(4096), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(4096), b"\x00"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningDaemon, int, str]]:
    """A daemon, its TCP port, and the token of this user's own clients."""
    home: Path = tmp_path_factory.mktemp("ports")
    (home / "config.toml").write_text(
        '[embedded]\nenabled = false\n[[listen]]\naddress = "tcp://127.0.0.1:0"\n'
    )
    with running(home) as daemon:
        info = daemon_pb2_grpc.DaemonServiceStub(daemon.channel).GetInfo(daemon_pb2.GetInfoRequest())
        yield daemon, int(info.addresses[0].rpartition(":")[2]), (home / "token").read_text().strip()


@pytest.mark.parametrize("data", NOISE, ids=["HTTP/1", "TLS", "noise", "noise in HTTP/2", "one byte"])
async def test_what_is_no_call_harms_nobody(served: tuple[RunningDaemon, int, str], data: bytes) -> None:
    daemon, port, token = served
    with ExitStack() as stack:
        for _ in range(50):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            one.sendall(data)
        assert await _percentile_99(port, token, 5, 2) < 10
    assert daemon.process.poll() is None


async def test_who_never_speaks_costs_others_little(served: tuple[RunningDaemon, int, str]) -> None:
    """The daemon hangs up on them by itself. Timings are printed, and decide nothing."""
    daemon, port, token = served
    _allow_files(HALF_OPEN + 1000)
    process = psutil.Process(daemon.process.pid)
    before = process.num_fds()
    alone_s = await _percentile_99(port, token, CLIENTS, ROUNDS)
    with ExitStack() as stack:
        for _ in range(HALF_OPEN):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        beside_s = await _percentile_99(port, token, CLIENTS, ROUNDS)
        await eventually(lambda: process.num_fds() < before + SPARE_FILES)
    print(f"99th percentile of {CLIENTS} clients: {alone_s * 1e3:.0f} ms, beside: {beside_s * 1e3:.0f} ms")


async def _percentile_99(port: int, token: str, clients: int, rounds: int) -> float:
    """Each client calls once a second; the slowest of a hundred calls, in seconds."""
    metadata = (("authorization", f"Bearer {token}"),)

    async def client(number: int) -> list[float]:
        options = (("grpc.use_local_subchannel_pool", 1),)
        took = []
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            stub = daemon_pb2_grpc.DaemonServiceStub(channel)
            await asyncio.sleep(number / clients)
            for _ in range(rounds):
                began = time.perf_counter()
                await stub.GetInfo(daemon_pb2.GetInfoRequest(), metadata=metadata, timeout=60)
                took.append(time.perf_counter() - began)
                await asyncio.sleep(max(0.0, 1 - took[-1]))
        return took

    times = [one for each in await asyncio.gather(*map(client, range(clients))) for one in each]
    return quantiles(times, n=100)[-1]


def _allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
