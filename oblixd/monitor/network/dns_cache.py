"""The addresses of hosts, remembered: a name can't be looked up once the network has gone."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Set as AbstractSet
from typing import Any

LOOKUP_S = 2.0
FRESH_S = 300.0
"""An address is used for so long before it is looked up again, unless it fails."""

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
"""As `socket.getaddrinfo` gives it."""


class DnsCache:
    """Looks names up, each once at a time. Belongs to one event loop.

    The system's resolver can hang for long and can't be cancelled: it runs in a
    thread that nobody waits for, neither the daemon at its end nor another package.
    """

    def __init__(self) -> None:
        self._addresses: dict[str, list[Address]] = {}
        self._fresh_until_s: dict[str, float] = {}
        self._looking: dict[str, asyncio.Future[list[Address]]] = {}

    def known_addresses(self, host: str) -> list[str]:
        """Return the IP addresses that a host had when it was last looked up. An IP address is its own."""
        if _is_address(host):
            return [host]
        return [str(where[0]) for *_, where in self._addresses.get(host, [])]

    async def find(self, host: str, port: int) -> list[Address]:
        """Look a host up where its addresses are not fresh. Raises OSError, TimeoutError after `LOOKUP_S`."""
        if time.monotonic() < self._fresh_until_s.get(host, 0.0):
            return self._addresses[host]
        if host not in self._looking:
            self._looking[host] = looking = _look_up(host, port)
            looking.add_done_callback(lambda done: self._looked(host, done))
        async with asyncio.timeout(LOOKUP_S):
            return await asyncio.shield(self._looking[host])

    def doubt(self, host: str) -> None:
        """Look it up anew the next time: its addresses did not answer."""
        self._fresh_until_s.pop(host, None)

    def keep(self, hosts: AbstractSet[str]) -> None:
        """Forget all other hosts."""
        for host in self._addresses.keys() - hosts:
            del self._addresses[host]
            self.doubt(host)

    def _looked(self, host: str, done: asyncio.Future[list[Address]]) -> None:
        del self._looking[host]
        if not done.exception():
            self._addresses[host] = done.result()
            self._fresh_until_s[host] = time.monotonic() + FRESH_S


def _look_up(host: str, port: int) -> asyncio.Future[list[Address]]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[Address]] = loop.create_future()

    def look() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            tell(future.set_exception, error if isinstance(error, OSError) else OSError(str(error)))
        else:
            tell(future.set_result, found)

    def tell(settle: Any, result: object) -> None:
        # The daemon may have ended by now.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=look, name="lookup", daemon=True).start()
    return future


def _is_address(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    return False
