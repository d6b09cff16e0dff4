"""Who calls without speaking the contract: other users, garbage, slow and half-open clients."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
from oblix.v1 import daemon_pb2, sessions_pb2
from support.drivers.daemon import RunningDaemon, run_daemon
from support.drivers.grpc_calls import TIMEOUT_S, Wire
from support.drivers.waiting import eventually

NOBODY = 65534
AS_NOBODY = f"""
import os, socket, sys
os.setgid({NOBODY}); os.setuid({NOBODY})
home, refused = sys.argv[1], 0
def tries():
    with socket.socket(socket.AF_UNIX) as one:
        yield lambda: one.connect(home + "/oblixd.sock")
    yield lambda: os.listdir(home)
    yield lambda: open(home + "/store/data.mdb", "rb")
    yield lambda: open(home + "/config.toml", "w")
for attempt in tries():
    try:
        attempt()
    except PermissionError:
        refused += 1
print(refused)
"""
HELLO = bytes.fromhex("16030100310100002d0303") + bytes(40)
"""The beginning of a TLS handshake."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
RUBBISH: dict[str, bytes] = {
    "HTTP/1": b"POST /oblix.v1.SessionService/ListSessions HTTP/1.1\r\nHost: x\r\n\r\n{}",
    "TLS": HELLO,
    "random": random.Random(7).randbytes(4096),
    "zeros": bytes(4096),
    "half a preface": PREFACE[:10],
    "frames of no length": PREFACE + bytes(900),
    "a frame that is too long": PREFACE + b"\xff\xff\xff\x00\x00\x00\x00\x00\x00" + bytes(100),
    "settings without end": PREFACE + (b"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + bytes(6)) * 2000,
    "nothing": b"",
}
MANY = 50


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    home = tmp_path_factory.mktemp("attacked")
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false") as daemon:
        yield daemon


def connect(daemon: RunningDaemon) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    one.connect(str(daemon.socket))
    return one


@pytest.mark.parametrize("kind", RUBBISH)
async def test_rubbish_on_the_socket_ends_its_connection_and_nothing_else(
    daemon: RunningDaemon, kind: str
) -> None:
    wire = Wire(daemon.channel)
    session = wire.session()
    before = psutil.Process(daemon.process.pid).num_fds()
    with ExitStack() as stack:
        for _ in range(MANY):
            one = stack.enter_context(connect(daemon))
            with suppress(BrokenPipeError, ConnectionResetError):  # it may be told to go while it still talks
                one.sendall(RUBBISH[kind])
        assert wire.messages(session) == []
    await eventually(lambda: psutil.Process(daemon.process.pid).num_fds() <= before)
    assert daemon.process.poll() is None


async def test_clients_that_send_a_byte_now_and_then_keep_nobody_out(daemon: RunningDaemon) -> None:
    wire = Wire(daemon.channel)
    before = psutil.Process(daemon.process.pid).num_fds()
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(daemon)) for _ in range(MANY)]
        for byte in PREFACE[:6]:
            for one in slow:
                one.send(bytes([byte]))
            wire.daemon.GetInfo(daemon_pb2.GetInfoRequest(), timeout=TIMEOUT_S)
    await eventually(lambda: psutil.Process(daemon.process.pid).num_fds() <= before)


@pytest.mark.skipif(os.getuid() != 0, reason="acting as another user takes root")
def test_another_user_reaches_nothing(home: Path) -> None:
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false") as daemon:
        Wire(daemon.channel).session()
        done = subprocess.run(
            [sys.executable, "-S", "-c", AS_NOBODY, str(home)], capture_output=True, text=True, check=True
        )
        assert done.stdout == "4\n"


def nested_struct(levels: int) -> bytes:
    """A Struct of a Struct of a Struct ..., as bytes: no client library writes one so deep."""
    inner = b""
    for _ in range(levels):
        value = b"\x2a" + _length(inner) + inner  # Value.struct_value
        entry = b"\x0a\x01a\x12" + _length(value) + value
        inner = b"\x0a" + _length(entry) + entry
    return inner


def _length(data: bytes) -> bytes:
    size, written = len(data), b""
    while size > 127:
        written += bytes([size & 127 | 128])
        size >>= 7
    return written + bytes([size])


@pytest.mark.parametrize("levels", [17, 200, 20_000])
def test_metadata_that_is_nested_too_deep_is_refused(daemon: RunningDaemon, levels: int) -> None:
    metadata = nested_struct(levels)
    session = b"\x32" + _length(metadata) + metadata
    request = b"\x0a" + _length(session) + session
    call: Callable[..., object] = daemon.channel.unary_unary("/oblix.v1.SessionService/CreateSession")
    with pytest.raises(Exception, match=r"INVALID_ARGUMENT|RESOURCE_EXHAUSTED"):
        call(request, timeout=TIMEOUT_S)
    assert Wire(daemon.channel).session()


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "../x", "/etc/passwd", "a/b", "a\0b", "%2e%2e", "\u202e", "x" * 129]
)
def test_no_name_is_a_path(daemon: RunningDaemon, name: str) -> None:
    wire = Wire(daemon.channel)
    for call in (
        lambda: wire.session(id=name),
        lambda: wire.messages(name),
        lambda: wire.sessions.DeleteSession(sessions_pb2.DeleteSessionRequest(session_id=name)),
    ):
        with pytest.raises(Exception, match=r"INVALID_ARGUMENT|NOT_FOUND"):
            call()
