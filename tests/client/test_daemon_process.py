"""Whether the process at the other end of a socket lives."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from oblix._launcher.process import DaemonProcess, to_path, to_target

LISTEN = """
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print("listening", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def listener(home: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", LISTEN, home / "a socket"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        yield process
        process.kill()


def test_a_listener_that_was_killed_has_ended_at_once(listener: subprocess.Popen[str], home: Path) -> None:
    peer = DaemonProcess(to_target(home / "a socket"))
    assert not peer.has_ended
    listener.kill()
    listener.wait(60)
    assert peer.has_ended


def test_a_process_of_unknown_state_counts_as_alive(home: Path) -> None:
    assert not DaemonProcess(to_target(home / "nobody")).has_ended
    assert not DaemonProcess("127.0.0.1:1").has_ended


def test_watching_leaves_nothing_open(listener: subprocess.Popen[str], home: Path) -> None:
    gc.collect()  # what earlier tests left must not go in between
    before = watched_processes()
    peer = DaemonProcess(to_target(home / "a socket"))
    assert watched_processes() == before + 1
    del peer
    gc.collect()
    assert watched_processes() == before


def watched_processes() -> int:
    """How many processes this one watches. Other descriptors come and go with other tests' threads."""
    descriptors = list(Path("/proc/self/fd").iterdir())
    return sum(_link(descriptor) == "anon_inode:[pidfd]" for descriptor in descriptors)


def _link(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:  # closed in between
        return ""


@pytest.mark.parametrize("name", ["plain", "with space", "50%#?ü", "\udcff"])
def test_any_path_can_be_a_target(name: str) -> None:
    path = Path("/run") / name
    assert to_path(to_target(path)) == str(path)
    assert to_target(path).isascii()
