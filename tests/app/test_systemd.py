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
systemd.stopping()
"""
HEARD = [b"READY=1\nSTATUS=serving on /a/socket", b"STOPPING=1\nSTATUS=draining"]


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
        manager.settimeout(10)
        live(address)
        assert [manager.recv(4096), manager.recv(4096)] == HEARD


def test_without_a_manager_nothing_happens():
    assert live("").stderr == ""


def test_a_manager_that_is_gone_is_logged_and_harms_nothing(home):
    assert "READY=1" in live(str(home / "gone.sock")).stderr
