"""Finding the processes of model servers on this machine that are not the daemon's children.

Which sockets of this machine listen on given ports.

Asked of the kernel over netlink, sock_diag(7): /proc/net/tcp, which has them
too, goes through the table of all connections and takes milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from oblixd.monitor.processes import use

_SOCK_DIAG, _BY_FAMILY = 4, 20
_REQUEST_DUMP = 0x301
_LISTEN = 1 << 10
"""The bit of TCP_LISTEN among the states."""
_HEADER = struct.Struct("=IHHII")
"""Length, type, flags, sequence number, sender (linux/netlink.h)."""
_REQUEST = struct.Struct("=BBBxI48x")
"""Family, protocol, extensions, states; the rest is for asking about one socket (linux/inet_diag.h)."""
_WAIT_S = 1.0
_BUFFER = 1 << 16


def inodes(ports: Collection[int]) -> set[int]:
    """Return the inodes of the TCP sockets that listen on one of the ports. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.settimeout(_WAIT_S)
        found = set()
        for family in (socket.AF_INET, socket.AF_INET6):
            request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _LISTEN)
            kernel.send(_HEADER.pack(_HEADER.size + len(request), _BY_FAMILY, _REQUEST_DUMP, 0, 0) + request)
            found |= {inode for port, inode in _answers(kernel) if port in ports}
        return found


def _answers(kernel: socket.socket) -> Iterator[tuple[int, int]]:
    """Port and inode of each; the dump ends with a message that is none."""
    while True:
        data = memoryview(kernel.recv(_BUFFER))
        while data:
            length, kind, *_ = _HEADER.unpack_from(data)
            if kind != _BY_FAMILY:
                return
            yield _port_and_inode(data[_HEADER.size : length])
            data = data[(length + 3) & ~3 :]


def _port_and_inode(message: memoryview) -> tuple[int, int]:
    """Unpack struct inet_diag_msg: 4 bytes, then the port in network order; the inode is its last number."""
    (port,) = struct.unpack_from("!H", message, 4)
    (inode,) = struct.unpack_from("=I", message, 68)
    return port, inode


NAMES = frozenset({"ollama", "llama-server"})
"""What the kernel calls the processes of servers that may belong to another user."""


WATCHED_S = 1.0
"""How long processes are watched to tell whether they work."""
LEAST_WORK_S = 0.03
"""Seconds of CPU within that time that are work. An idle server takes less than a tenth of it."""


async def works(origin: str, root: Path = Path("/")) -> bool:
    """Return whether the local processes that serve an origin, or their children, work just now.

    False also where they can't be found, as behind a container's own network.
    """
    servers = LocalServers(root, lambda: [origin])
    pids = await asyncio.to_thread(servers.serving_pids)
    before = _cpu_s(root, pids)
    await asyncio.sleep(WATCHED_S)
    after = _cpu_s(root, pids)
    return sum(after[pid] - before[pid] for pid in before.keys() & after.keys()) >= LEAST_WORK_S


def _cpu_s(root: Path, pids: Iterable[int]) -> dict[int, float]:
    return {pid: used.cpu_s for pid in pids if (used := use(root, pid)) is not None}


class LocalServers:
    """The servers behind hooked models of this machine, with all they started.

    They are known by their name, or by listening on the port of a hooked
    endpoint: the latter is told only of processes that we may look into, our
    own user's. Where nothing of this machine is hooked, nothing is looked for.
    """

    def __init__(self, root: Path, origins: Callable[[], Iterable[str]]) -> None:
        self._root = root
        self._origins = origins
        self._new_pids: set[int] = set()
        self._names: dict[int, bool] = {}
        """Of each process whether its name is a server's. One that was just begun may take another yet."""

    def pids(self) -> frozenset[int]:
        """Goes through all processes: not for every second."""
        ports = set(_ports(self._origins()))
        if not ports:
            return frozenset()
        if not (self._root / "proc/self").exists():
            return frozenset(_psutil_pids())
        sockets = _listening_sockets(ports)
        found = {pid for pid, is_named in self._find_named().items() if is_named or self._holds(pid, sockets)}
        found.discard(os.getpid())
        return frozenset(self._with_children(found))

    def serving_pids(self) -> frozenset[int]:
        """Return the listeners and their children; all `pids` if listeners can't be told apart."""
        everything = self.pids()
        sockets = _listening_sockets(set(_ports(self._origins())))
        listening_ones = [pid for pid in everything if self._holds(pid, sockets)]
        return frozenset(self._with_children(listening_ones)) or everything

    def _find_named(self) -> dict[int, bool]:
        with os.scandir(self._root / "proc") as entries:
            pids = {int(entry.name) for entry in entries if entry.name.isdigit()}
        settled = self._names.keys() & pids - self._new_pids
        self._new_pids = pids - self._names.keys()
        self._names = {pid: self._names[pid] if pid in settled else self._is_named(pid) for pid in pids}
        return self._names

    def _is_named(self, pid: int) -> bool:
        with contextlib.suppress(OSError):
            return Path(f"{self._root}/proc/{pid}/comm").read_text().strip() in NAMES
        return False

    def _holds(self, pid: int, sockets: Collection[str]) -> bool:
        # Most processes have few files, and those of others can't be listed.
        folder = self._root / f"proc/{pid}/fd"
        with contextlib.suppress(OSError):
            return bool(sockets) and any(_target(link) in sockets for link in folder.iterdir())
        return False

    def _with_children(self, pids: Iterable[int]) -> set[int]:
        found: set[int] = set()
        left = list(pids)
        while left:
            pid = left.pop()
            if pid not in found:
                found.add(pid)
                left += self._children(pid)
        return found

    def _children(self, pid: int) -> Iterator[int]:
        for listing in (self._root / f"proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # the thread ended in between
                yield from map(int, listing.read_text().split())


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # it was closed in between
        return ""


def _ports(origins: Iterable[str]) -> Iterator[int]:
    for origin in origins:
        port = urlsplit(origin).port
        if port is not None:
            yield port


def _listening_sockets(ports: Collection[int]) -> frozenset[str]:
    """Return the sockets that listen on these ports, as links in /proc/PID/fd name them."""
    with contextlib.suppress(OSError):  # a sandbox may forbid to ask
        return frozenset(f"socket:[{inode}]" for inode in inodes(ports))
    return frozenset()


def _psutil_pids() -> Iterator[int]:
    """Yield processes by name, and their children: listeners need rights that we lack on other systems."""
    for process in psutil.process_iter(["name"]):
        if process.info["name"] in NAMES:
            yield process.pid
            with contextlib.suppress(psutil.Error):
                yield from (child.pid for child in process.children(recursive=True))
