"""Starts and lives that the system makes hard: each is one sentence with the right advice."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import psutil
import pytest
from oblix.v1 import daemon_pb2, models_pb2, sessions_pb2
from support.drivers.daemon import RunningDaemon, run_daemon
from support.drivers.grpc_calls import Wire

FILES = 64


def _link_to_a_file(place: Path) -> None:
    place.with_name("precious").write_text("precious")
    place.symlink_to("precious")


def _link_to_a_socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(place.with_name("other.sock")))
    place.symlink_to("other.sock")


@pytest.mark.parametrize(
    ("put", "what"),
    [
        (lambda place: place.write_text("precious"), "a file"),
        (lambda place: place.mkdir(), "a directory"),
        (lambda place: place.symlink_to("nowhere"), "a symbolic link"),
        (_link_to_a_file, "a symbolic link"),
        (_link_to_a_socket, "a symbolic link"),
        (os.mkfifo, "something else"),
    ],
    ids=["file", "directory", "dangling link", "link to a file", "link to a socket", "pipe"],
)
def test_a_foreign_file_at_the_sockets_path_is_named_and_left_alone(
    home: Path, put: Callable[[Path], object], what: str
) -> None:
    place = home / "oblixd.sock"
    put(place)
    before = place.lstat()
    command = [sys.executable, "-m", "oblixd"]
    environ = {**os.environ, "OBLIX_EMBEDDED_ENABLED": "false"}
    done = subprocess.run(command, check=False, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"oblixd: {place} is {what}, and the daemon's socket belongs there: "
        "move it away, then start the daemon."
    )
    assert place.lstat().st_ino == before.st_ino


GARBAGE = """
import gc
from oblixd import __main__
from oblixd.app.daemon import Daemon

async def run(self):
    print(gc.isenabled(), gc.get_freeze_count() > 10 * len(gc.get_objects()))

Daemon.run = run
__main__.main([])
"""


def test_garbage_is_looked_for_in_what_came_after_the_imports_alone(home: Path) -> None:
    done = subprocess.run([sys.executable, "-c", GARBAGE], check=True, capture_output=True, text=True)
    assert done.stdout == "True True\n"


def test_a_daemon_without_descriptors_says_so_and_goes_on(home: Path) -> None:
    daemon = RunningDaemon(
        home, {"OBLIX_EMBEDDED_ENABLED": "false"}, ["prlimit", f"--nofile={FILES}:{FILES}", "--"]
    )
    held: list[socket.socket] = []
    try:
        daemon.wait_until_serving()
        wire, process = Wire(daemon.channel), psutil.Process(daemon.process.pid)
        session = wire.session()
        while process.num_fds() < FILES and len(held) < 2 * FILES:
            held.append(socket.socket(socket.AF_UNIX))
            held[-1].setblocking(False)
            held[-1].connect_ex(str(daemon.socket))
        with pytest.raises(grpc.RpcError) as failed:
            list(wire.sessions.BackupStore(sessions_pb2.BackupStoreRequest(), timeout=60))
        assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "LimitNOFILE" in failed.value.details()
        hook = models_pb2.HookModelRequest(
            provider=models_pb2.PROVIDER_OLLAMA, name="llama2", endpoint="http://127.0.0.1:9"
        )
        try:
            wire.models.HookModel(hook, timeout=60)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, error.details()  # noqa: PT017 - either is right
        wire.daemon.GetInfo(daemon_pb2.GetInfoRequest(), timeout=60)
        assert wire.messages(session) == []
        for one in held:
            one.close()
        assert daemon.end() == 0
    finally:
        daemon.end()


def test_the_daemon_opens_more_files_than_programs_with_select_may(home: Path) -> None:
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false") as daemon:
        soft, hard = psutil.Process(daemon.process.pid).rlimit(psutil.RLIMIT_NOFILE)
        assert soft == min(hard, 65_536) or soft > 65_536
