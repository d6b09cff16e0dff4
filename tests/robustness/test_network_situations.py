"""A server that answered a moment ago is not offline: a table of the networks that machines stand in.

Each situation is two hosts out of network namespaces with a cable between them, a real
daemon on one and a model's server on the other. In most of them there is no default route.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from oblix import OblixClient, OblixError
from support.drivers.daemon import RunningDaemon
from support.faults import netlab
from support.repository import files

pytestmark = [
    pytest.mark.skipif(bool(netlab.missing_parts()), reason=netlab.missing_parts()),
]
PORT = 8000
OFFLINE = "disconnected"
REACHED = {"optimal", "degraded"}
CALM_S = 4.0
"""For so long after an answer the server must not be called offline. It used to take a second or two."""


@dataclass(frozen=True)
class Situation:
    """A network: what the near and the far host have, and what the near one calls the server."""

    near: tuple[str, ...]
    far: tuple[str, ...]
    address: str
    """Where the server listens."""
    name: str = "models.company.test"
    hosts: str = ""
    """What the near host's file of hosts says; {address} stands for the server's."""
    network: str = ""
    """The configuration's [network]."""
    proxy: bool = False
    kind: set[str] = field(default_factory=lambda: {"wired"})


DIRECT = (("addr add 10.9.0.1/24 dev {near}",), ("addr add 10.9.0.2/24 dev {far}",))
SITUATIONS = {
    "direct route, name in the hosts file": Situation(*DIRECT, "10.9.0.2", hosts="{address} {name}"),
    "direct route, plain address": Situation(*DIRECT, "10.9.0.2", name="10.9.0.2"),
    "VPN only": Situation(
        ("addr add 10.9.0.1/30 dev {near}", "route add 10.20.0.0/16 via 10.9.0.2"),
        ("addr add 10.9.0.2/30 dev {far}", "addr add 10.20.5.5/32 dev lo"),
        "10.20.5.5",
        hosts="{address} {name}",
    ),
    "IPv6 only": Situation(
        ("addr add fd00:9::1/64 dev {near} nodad",),
        ("addr add fd00:9::2/64 dev {far} nodad",),
        "fd00:9::2",
        hosts="{address} {name}",
    ),
    "container bridge": Situation(
        (
            "link add docker0 type bridge",
            "link set {near} master docker0",
            "addr add 172.30.0.1/16 dev docker0",
            "link set docker0 up",
        ),
        ("addr add 172.30.0.2/16 dev {far}",),
        "172.30.0.2",
        hosts="{address} {name}",
    ),
    "proxy only": Situation(*DIRECT, "10.9.0.2", network=f'proxy = "http://10.9.0.2:{PORT + 1}"', proxy=True),
    "default route": Situation(
        ("addr add 10.9.0.1/24 dev {near}", "route add default via 10.9.0.2"),
        ("addr add 10.9.0.2/24 dev {far}", "addr add 10.20.5.5/32 dev lo"),
        "10.20.5.5",
        hosts="{address} {name}",
    ),
}


class Pair:
    """Two hosts with a cable between them, and what runs on them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.near, self.far = f"oblix-{os.getpid()}-n", f"oblix-{os.getpid()}-f"
        self._stack = ExitStack()

    def __enter__(self) -> Pair:
        for name in (self.near, self.far):
            _run(f"ip netns add {name}")
            self._stack.callback(_run, f"ip netns del {name}")
            _run(f"ip -n {name} link set lo up")
        _run(f"ip link add near0 netns {self.near} type veth peer name far0 netns {self.far}")
        _run(f"ip -n {self.near} link set near0 up")
        _run(f"ip -n {self.far} link set far0 up")
        self._etc = Path("/etc/netns") / self.near
        self._etc.mkdir(parents=True)
        self._stack.callback(shutil.rmtree, self._etc)
        (self._etc / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        self.name_hosts("")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def name_hosts(self, line: str) -> None:
        """Say what the near host's file of hosts holds. The file stays the same one: it is mounted."""
        (self._etc / "hosts").write_text(f"127.0.0.1 localhost\n{line}\n")

    def lay(self, situation: Situation) -> None:
        """Make the network of a situation."""
        for host, commands in ((self.near, situation.near), (self.far, situation.far)):
            for command in commands:
                _run(f"ip -n {host} {command.format(near='near0', far='far0')}")

    def serve(self, *words: str) -> None:
        """Start a server on the far host, until the end."""
        environ = {**os.environ, "PYTHONPATH": str(files.ROOT / "tests")}
        command = ["ip", "netns", "exec", self.far, sys.executable, "-m", "support.far", *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
        self._stack.callback(_end, process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    def listens(self, address: str, port: int) -> None:
        """Wait until something listens on the far host."""
        script = f"import socket; socket.create_connection(('{address}', {port}), 1)"
        for _ in range(200):
            command = ["ip", "netns", "exec", self.far, sys.executable, "-c", script]
            if subprocess.run(command, check=False, capture_output=True).returncode == 0:
                return
        raise AssertionError("nothing listens")

    def daemon(self, config: str) -> None:
        """Start a daemon on the near host, until the end."""
        (self.home / "config.toml").write_text(config)
        words = ["ip", "netns", "exec", self.near]
        started = RunningDaemon(self.home, {"OBLIX_EMBEDDED_ENABLED": "false"}, words)
        self._stack.callback(started.end)
        started.wait_until_serving()


@pytest.fixture
def pair(home: Path) -> Iterator[Pair]:
    with Pair(home) as made:
        yield made


def config_of(situation: Situation) -> str:
    host = f"[{situation.name}]" if ":" in situation.name else situation.name
    return f"""
    [network]
    {situation.network}
    [monitor]
    check_interval_s = 1
    [[models]]
    name = "gpt"
    provider = "custom"
    location = "cloud"
    endpoint = "http://{host}:{PORT}/v1"
    """


async def network_of(client: OblixClient) -> dict:
    (endpoint,) = (await client.get_connectivity_metrics())["endpoints"]
    return endpoint


@pytest.mark.parametrize("name", SITUATIONS)
async def test_a_server_that_answers_is_never_called_offline(pair: Pair, name: str) -> None:
    situation = SITUATIONS[name]
    pair.lay(situation)
    pair.name_hosts(situation.hosts.format(address=situation.address, name=situation.name))
    pair.serve("127.0.0.1" if situation.proxy else situation.address, str(PORT))
    if situation.proxy:
        pair.serve(situation.address, str(PORT), "--proxy")
        pair.listens(situation.address, PORT + 1)
    pair.daemon(config_of(situation))
    async with OblixClient() as client:
        assert (await client.execute("Hello", stream=False))["response"] == "You said: Hello"
        until = time.monotonic() + CALM_S
        while time.monotonic() < until:
            seen = await network_of(client)
            assert seen["state"] != OFFLINE, seen
            await asyncio.sleep(0.1)  # the time is what is tested
        assert (await client.execute("Again", stream=False))["response"] == "You said: Again"
        assert (await client.get_connectivity_metrics())["connection_type"] in situation.kind
        assert (await network_of(client))["state"] in REACHED


async def test_split_dns_the_name_leads_elsewhere_once_the_vpn_is_up(pair: Pair) -> None:
    situation = SITUATIONS["VPN only"]
    pair.name_hosts("203.0.113.5 models.company.test")
    pair.serve("0.0.0.0", str(PORT))
    pair.daemon(config_of(situation))
    async with OblixClient() as client:
        await _until(client, lambda state: state == OFFLINE)
        pair.name_hosts(f"{situation.address} models.company.test")
        pair.lay(situation)
        await _until(client, lambda state: state in REACHED)
        assert (await client.execute("Hello", stream=False))["response"] == "You said: Hello"


async def test_a_machine_without_any_network_says_so(pair: Pair) -> None:
    pair.daemon(config_of(SITUATIONS["VPN only"]))
    async with OblixClient() as client:
        with pytest.raises(OblixError, match="there is no such host"):
            await client.execute("Hello", stream=False)
        await _until(client, lambda state: state == OFFLINE)


async def _until(client: OblixClient, is_so: Callable[[str | None], bool]) -> None:
    for _ in range(200):
        if is_so((await network_of(client))["state"]):
            return
        await asyncio.sleep(0.1)  # nothing announces it
    raise AssertionError(f"it is still {await network_of(client)}")


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(60)
    if process.stdout is not None:
        process.stdout.close()
