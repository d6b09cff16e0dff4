"""What reaches an open port: other protocols, noise, slow senders, and thousands who never say a word."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import quantiles

import grpc
import psutil
import pytest
from oblix.v1 import daemon_pb2, daemon_pb2_grpc
from support import scale
from support.drivers.daemon import RunningDaemon, run_daemon
from support.drivers.waiting import eventually

HALF_OPEN = 500 if scale.QUICK else 5_000
SPARE_FILES = 100
"""Descriptors that a daemon may have more of after a while than before: channels that are just closing."""
CLIENTS, ROUNDS = (20, 3) if scale.QUICK else (200, 10)
HTTP_1 = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
TLS_HELLO = bytes.fromhex("160301009d010000990303") + bytes(150)
NOISE = [HTTP_1, TLS_HELLO, os.urandom(4096), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(4096), b"\x00"]


@pytest.fixture(scope="module")
def daemon_over_tcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningDaemon, int, str]]:
    """A daemon, its TCP port, and the token of this user's own clients."""
    home: Path = tmp_path_factory.mktemp("ports")
    (home / "config.toml").write_text(
        '[embedded]\nenabled = false\n[[listen]]\naddress = "tcp://127.0.0.1:0"\n'
    )
    with run_daemon(home) as daemon:
        info = daemon_pb2_grpc.DaemonServiceStub(daemon.channel).GetInfo(daemon_pb2.GetInfoRequest())
        yield daemon, int(info.addresses[0].rpartition(":")[2]), (home / "token").read_text().strip()


@pytest.mark.parametrize("data", NOISE, ids=["HTTP/1", "TLS", "noise", "noise in HTTP/2", "one byte"])
async def test_bytes_that_are_no_call_harm_nobody(
    daemon_over_tcp: tuple[RunningDaemon, int, str], data: bytes
) -> None:
    daemon, port, token = daemon_over_tcp
    with ExitStack() as stack:
        for _ in range(50):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            one.sendall(data)
        assert await _percentile_99(port, token, 5, 2) < 10
    assert daemon.process.poll() is None


BARE = """
import asyncio, sys, grpc
answer = bytes.fromhex(sys.argv[1])
async def info(request, context):
    return answer
async def main():
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0), ("grpc.server_handshake_timeout_ms", 10_000)))
    handlers = grpc.method_handlers_generic_handler(
        "oblix.v1.DaemonService", {"GetInfo": grpc.unary_unary_rpc_method_handler(info)}
    )
    server.add_generic_rpc_handlers((handlers,))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def bare_server(daemon_over_tcp: tuple[RunningDaemon, int, str]) -> Iterator[int]:
    """The port of a gRPC server that gives the daemon's answer and does nothing else."""
    info = daemon_pb2_grpc.DaemonServiceStub(daemon_over_tcp[0].channel).GetInfo(daemon_pb2.GetInfoRequest())
    command = [sys.executable, "-c", BARE, info.SerializeToString().hex()]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


@contextmanager
def noise(port: int) -> Iterator[None]:
    """Other protocols, random bytes, bytes that come slowly, and thousands who never say a word."""
    stop = threading.Event()

    def send_slowly(one: socket.socket) -> None:
        for byte in NOISE[3]:
            with suppress(OSError):
                one.sendall(bytes([byte]))
            if stop.wait(1.0):
                return

    with ExitStack() as stack:
        stack.callback(stop.set)
        for _ in range(HALF_OPEN):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        for data in NOISE * 10:
            with suppress(OSError):
                stack.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(data)
        for _ in range(10):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            threading.Thread(target=send_slowly, args=(one,), daemon=True).start()
        yield


async def test_clients_beside_noise_wait_hardly_longer_than_at_a_bare_server(
    daemon_over_tcp: tuple[RunningDaemon, int, str], bare_server: int
) -> None:
    """Both sides in one run, one after the other and twice. The ratio is printed, and decides nothing."""
    daemon, port, token = daemon_over_tcp
    _allow_files(HALF_OPEN + 1000)
    process = psutil.Process(daemon.process.pid)
    before = process.num_fds()
    ours, theirs = [], []
    for _ in range(2):
        with noise(port):
            ours.append(await _percentile_99(port, token, CLIENTS, ROUNDS))
        with noise(bare_server):
            theirs.append(await _percentile_99(bare_server, token, CLIENTS, ROUNDS))
    await eventually(lambda: process.num_fds() < before + SPARE_FILES)
    ratio = min(ours) / min(theirs)
    print(
        f"99th percentile of {CLIENTS} clients beside {HALF_OPEN} silent ones and noise: "
        f"{min(ours) * 1e3:.0f} ms, a bare server {min(theirs) * 1e3:.0f} ms: {ratio:.2f} times"
    )
    assert daemon.process.poll() is None


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
