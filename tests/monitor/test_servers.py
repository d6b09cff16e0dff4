"""Which processes of this machine serve the models that are hooked: real ones, found as they run."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from oblixd.monitor import servers
from oblixd.monitor.servers import LocalServers, works

ROOT = Path("/")
LISTEN = """
import socket, subprocess, sys
with socket.create_server(("127.0.0.1", 0)) as listening:
    child = subprocess.Popen(["sleep", "1000"])
    print(listening.getsockname()[1], child.pid, flush=True)
    try:
        sys.stdin.read()
    finally:
        child.kill()
"""
ELSEWHERE = "http://127.0.0.1:1"


@pytest.fixture
def start_process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield start
    for process in running:
        process.communicate()


def test_a_server_is_found_by_the_port_that_it_listens_on_with_its_children(start_process) -> None:
    server = start_process(sys.executable, "-S", "-c", LISTEN)
    port, child = map(int, server.stdout.readline().split())
    found = LocalServers(ROOT, lambda: [f"http://127.0.0.1:{port}"]).pids()
    assert {server.pid, child} <= found
    assert os.getpid() not in found
    assert server.pid not in LocalServers(ROOT, lambda: [ELSEWHERE]).pids()


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_kernel_names_the_sockets_that_listen_on_a_port(family: socket.AddressFamily, host: str) -> None:
    with socket.create_server((host, 0), family=family) as server:
        address = server.getsockname()
        with socket.create_connection(address[:2]):  # a connection does not listen
            inode = os.fstat(server.fileno()).st_ino
            assert servers.inodes({address[1]}) == {inode}
    assert servers.inodes({address[1]}) == set()


def test_a_server_of_anybody_is_found_by_its_name(start_process, tmp_path: Path) -> None:
    program = shutil.copy(shutil.which("cat") or "", tmp_path / "llama-server")
    server = start_process(program)
    server.stdin.write("ready\n")
    server.stdin.flush()
    server.stdout.readline()
    assert server.pid in LocalServers(ROOT, lambda: [ELSEWHERE]).pids()
    assert server.pid in LocalServers(tmp_path, lambda: [ELSEWHERE]).pids()  # without /proc


def test_where_nothing_local_is_hooked_nothing_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("it was looked for")

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refuse)
        assert LocalServers(ROOT, list).pids() == frozenset()


def test_our_own_process_is_never_a_model_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert psutil.Process().pid not in LocalServers(ROOT, lambda: [f"http://[::1]:{port}"]).pids()


BUSY = """
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    while sys.argv[1] == "busy" and sys.stdin.readline() != "stop":
        for _ in range(10**9):
            pass
    sys.stdin.read()
"""


async def test_a_server_that_works_is_told_from_one_that_rests(start_process) -> None:
    busy, idle = (start_process(sys.executable, "-S", "-c", BUSY, how) for how in ("busy", "idle"))
    ports = [int(server.stdout.readline()) for server in (busy, idle)]
    busy.stdin.write("work\n")
    busy.stdin.flush()
    told = await asyncio.gather(*(works(f"http://127.0.0.1:{port}") for port in ports))
    busy.kill()
    assert told == [True, False]
    assert not await works(ELSEWHERE), "nobody listens there"
