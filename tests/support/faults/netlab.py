"""Two hosts on one machine: network namespaces, with a cable that a test can pull, throttle or spoil.

    near, where the daemon runs        far, where the provider runs
    10.77.0.1 ---- a veth pair ------- 10.77.0.2, and behind it 10.78.0.2, to which the default route leads
    10.79.0.1 ---- late and lossy ---- 10.79.0.2

Needs root, `ip` and `tc`. Late and lossy is the veth pair too where the kernel has
netem; else it is a relay of ours (`support.faults.packet_loss`), which needs /dev/net/tun.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from typing import Self

from support.faults import packet_loss
from support.repository import files

FAR = "10.78.0.2"
"""The provider, behind the default route."""
LATE = "10.79.0.2"
"""The provider, at the end of the line that can be late and lossy."""
WAIT_S = 60.0


def missing_parts() -> str:
    """What this machine lacks for it; empty: nothing."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "the network is only cut for real by root on Linux"
    if any(shutil.which(tool) is None for tool in ("ip", "tc")):
        return "the network is only cut for real with `ip` and `tc` (Debian: iproute2)"
    made = subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True)
    return "" if made.returncode == 0 else "this machine lets nobody make a network namespace"


class Lab:
    """A context manager: what it made goes with it, and the processes that it started."""

    def __init__(self) -> None:
        self.near, self.far = f"oblix-{os.getpid()}-near", f"oblix-{os.getpid()}-far"
        self.has_netem = False
        self._relay: subprocess.Popen[str] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for name in (self.near, self.far):
                _run(f"ip netns add {name}")
                stack.callback(_run, f"ip netns del {name}")
                _run(f"ip -n {name} link set lo up")
            self._lay_cable()
            self.has_netem = _succeeds(f"tc -n {self.far} qdisc add dev far0 root netem delay 1ms")
            self.calm()
            self._lay_late_line(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, namespace: str, *words: str) -> str:
        """Start `python WORDS` in a namespace until the lab ends. Gives the first line that it prints."""
        environ = {**os.environ, "PYTHONPATH": str(files.ROOT / "tests")}
        process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, sys.executable, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )
        self._stack.callback(_end, process)
        assert process.stdout is not None
        return process.stdout.readline().strip()

    def pull(self) -> None:
        """Pull the cable out of the far host: the near one loses its carrier."""
        _run(f"ip -n {self.far} link set far0 down")

    def plug(self) -> None:
        """Put it back, and the far host's route, which went with it."""
        _run(f"ip -n {self.far} link set far0 up")

    def unroute(self) -> None:
        """Take the near host's default route away."""
        _run(f"ip -n {self.near} route del default")

    def route(self) -> None:
        """Give it back."""
        _run(f"ip -n {self.near} route add default via 10.77.0.2")

    def throttle(self, kbit: int) -> None:
        """Let the far host send no more than so many kilobits a second over the cable."""
        _run(f"tc -n {self.far} qdisc replace dev far0 root tbf rate {kbit}kbit burst 1600 latency 1s")

    def spoil(self, *, delay_ms: float = 0, lost_percent: float = 0) -> None:
        """Have packets come late, and lose some, on the way to `LATE`."""
        if self.has_netem:
            how = f"delay {delay_ms}ms loss {lost_percent}%"
            _run(f"tc -n {self.far} qdisc replace dev far0 root netem {how}")
            return
        assert self._relay is not None
        assert self._relay.stdin is not None
        assert self._relay.stdout is not None
        self._relay.stdin.write(f"{delay_ms} {lost_percent}\n")
        self._relay.stdin.flush()
        assert self._relay.stdout.readline() == "ok\n"

    def calm(self) -> None:
        """Neither throttle nor spoil any more."""
        _succeeds(f"tc -n {self.far} qdisc del dev far0 root")
        if self._relay is not None:
            self.spoil()

    def _lay_cable(self) -> None:
        _run(f"ip link add near0 netns {self.near} type veth peer name far0 netns {self.far}")
        _run(f"ip -n {self.near} addr add 10.77.0.1/24 dev near0")
        _run(f"ip -n {self.far} addr add 10.77.0.2/24 dev far0")
        _run(f"ip -n {self.far} addr add {FAR}/32 dev lo")
        for end, name in ((self.near, "near0"), (self.far, "far0")):
            _run(f"ip -n {end} link set {name} up")
        self.route()

    def _lay_late_line(self, stack: ExitStack) -> None:
        if self.has_netem:
            _run(f"ip -n {self.far} addr add {LATE}/32 dev lo")
            return
        self._relay = subprocess.Popen(
            [sys.executable, packet_loss.__file__, self.near, self.far],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(_end, self._relay)
        assert self._relay.stdout is not None
        assert self._relay.stdout.readline() == "ready\n"
        for end, address in ((self.near, "10.79.0.1"), (self.far, LATE)):
            _run(f"ip -n {end} addr add {address}/24 dev {packet_loss.INTERFACE}")
            _run(f"ip -n {end} link set {packet_loss.INTERFACE} up")


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(WAIT_S)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True)


def _succeeds(command: str) -> bool:
    return subprocess.run(command.split(), check=False, capture_output=True).returncode == 0
