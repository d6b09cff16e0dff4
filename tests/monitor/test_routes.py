"""Ways out of this machine, and changes of them: real links in a network of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys

import pytest
from support.faults import netns
from support.repository import files as files_module

from oblixd.monitor.network.link_events import LinkEvents
from oblixd.monitor.network.routes import Route, kind_of, route_to


@pytest.fixture(scope="module")
def ways():
    """What the system said at each step of `support.faults.cable`."""
    command = netns.command(sys.executable, "-m", "support.faults.cable")
    if command is None or shutil.which("ip") is None:
        pytest.skip("this user may not make a network namespace here, or has no `ip`")
    environ = {**os.environ, "PYTHONPATH": str(files_module.ROOT / "tests")}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("step", "to_the_other_end", "beyond", "anywhere"),
    [
        ("alone", None, None, None),
        ("a new cable", None, None, None),
        ("plugged in", "near", None, None),
        ("a default route", "near", "near", "near"),
        ("pulled", None, None, None),
        ("plugged in again", "near", "near", "near"),
        ("without a route", "near", None, None),
        ("switched off", None, None, None),
    ],
)
def test_every_change_is_heard_of_and_ways_come_and_go(ways, step, to_the_other_end, beyond, anywhere):
    assert ways[step] == [to_the_other_end, beyond, anywhere]


def test_the_way_to_this_machine_is_its_loopback():
    assert route_to(["127.0.0.1"]) == Route("lo", "127.0.0.1")
    assert route_to(["127.0.0.1"]).kind == "loopback"


def test_a_malformed_address_has_no_route():
    assert route_to([]) is None
    assert route_to(["256.0.0.1"]) is None


SYSTEM = {
    "lo": {"type": "772", "uevent": ""},
    "enp3s0": {"type": "1", "uevent": "INTERFACE=enp3s0"},
    "wlp2s0": {"type": "1", "uevent": "DEVTYPE=wlan", "wireless/retries": "0"},
    "wwan0": {"type": "1", "uevent": "DEVTYPE=wwan\nINTERFACE=wwan0"},
    "rmnet0": {"type": "519", "uevent": ""},
    "tun0": {"type": "65534", "uevent": "", "tun_flags": "0x1001"},
    "tap0": {"type": "1", "uevent": "", "tun_flags": "0x1002"},
    "wg0": {"type": "65534", "uevent": "DEVTYPE=wireguard"},
    "ppp0": {"type": "512", "uevent": "DEVTYPE=ppp"},
}


@pytest.mark.parametrize(
    ("interface", "kind"),
    [
        ("lo", "loopback"),
        ("enp3s0", "wired"),
        ("wlp2s0", "wireless"),
        ("wwan0", "cellular"),
        ("rmnet0", "cellular"),
        ("tun0", "vpn"),
        ("tap0", "vpn"),
        ("wg0", "vpn"),
        ("ppp0", "vpn"),
        ("gone0", ""),
        ("", ""),
    ],
)
def test_the_kind_of_an_interface_is_read_from_the_system(tmp_path, interface, kind):
    for name, files in SYSTEM.items():
        for file, text in files.items():
            place = tmp_path / name / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(f"{text}\n")
    assert kind_of(interface, tmp_path) == kind


async def test_where_nobody_tells_of_changes_nothing_breaks(monkeypatch):
    monkeypatch.delattr(socket, "AF_NETLINK")
    links = LinkEvents(lambda: None)
    links.start()
    links.close()


async def test_closing_stops_listening():
    links = LinkEvents(lambda: None)
    links.start()
    links._heard()
    links.close()
    links.close()
    assert links._settling.cancelled()
    assert not asyncio.get_running_loop().remove_reader(0)
