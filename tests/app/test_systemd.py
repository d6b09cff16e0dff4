"""What a service manager hears, over its real kind of socket."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys

import pytest

LIFE = """
import os
from oblixd.app import systemd
systemd.ready("serving on\\n/a/socket")
assert "NOTIFY_SOCKET" not in os.environ
systemd.stopping(10)
"""
HEARD = [
    b"READY=1\nSTATUS=serving on /a/socket",
    b"STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=40000000",
]


def live(address):
    environ = {"NOTIFY_SOCKET": address} if address else {}
    command = [sys.executable, "-c", LIFE]
    return subprocess.run(command, env=environ, check=True, timeout=60, capture_output=True, text=True)


@pytest.fixture(params=["path", "abstract"])
def address(request, home):
    if request.param == "path":
        return str(home / "notify.sock")
    return f"@oblix-{secrets.token_hex(8)}"


def test_the_manager_hears_of_ready_and_stopping(address):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0"))
        manager.settimeout(60)
        live(address)
        assert [manager.recv(4096), manager.recv(4096)] == HEARD


def test_without_a_manager_nothing_happens():
    assert live("").stderr == ""


def test_a_manager_that_is_gone_is_logged_and_harms_nothing(home):
    assert "READY=1" in live(str(home / "gone.sock")).stderr


REPORTS = """
import asyncio, os
from oblixd.app import systemd
async def main():
    task = asyncio.create_task(systemd.keep_reporting(lambda: "two\\nlines"))
    await asyncio.sleep(0)
    assert "WATCHDOG_USEC" not in os.environ
    await asyncio.wait([task], timeout=0.5)
    task.cancel()
asyncio.run(main())
"""


def reports(home, **environ):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(home / "notify.sock"))
        environ |= {"NOTIFY_SOCKET": str(home / "notify.sock")}
        subprocess.run([sys.executable, "-c", REPORTS], env=environ, check=True, timeout=60)
        manager.setblocking(False)
        heard = []
        try:
            while True:
                heard.append(manager.recv(4096).decode())
        except BlockingIOError:
            return heard


def test_a_loop_that_turns_is_heard_from(home):
    heard = reports(home, WATCHDOG_USEC="30000")
    assert heard[0] == "WATCHDOG=1\nSTATUS=two lines"
    assert set(heard[1:]) == {"WATCHDOG=1"}


def test_without_a_watchdog_only_the_status_is_told(home):
    assert reports(home) == ["STATUS=two lines"]


def test_a_watchdog_that_is_for_another_process_is_left_alone(home):
    assert reports(home, WATCHDOG_USEC="30000", WATCHDOG_PID="1") == ["STATUS=two lines"]
