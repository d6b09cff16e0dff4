"""A probe of an endpoint: a TCP connection and, for https, the TLS handshake. Nothing is sent above that.

So nothing is billed, and the server's log shows a visitor who said nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from aiohappyeyeballs import start_connection

from oblixd.monitor.network.dns_cache import LOOKUP_S, DnsCache

CONNECT_S = 2.0
"""For the TCP connection: time for its first packet to be lost and sent again (after 1 s, RFC 6298)."""
MOST_AT_ONCE = 4
"""Looks at the same time. One more waits."""
HANDSHAKE_S = 2.0
"""For the TLS handshake."""
NEXT_ADDRESS_S = 0.25
"""A second address is tried beside one that does not answer within this (RFC 8305)."""


class ProbeError(Exception):
    """No connection came about. The message says why, to a person, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where an endpoint is."""

    host: str
    port: int
    is_tls: bool
    proxy: str = ""
    """The proxy that the endpoint is reached through, as a URL; host and port are then the proxy's."""
    trust: Callable[[], ssl.SSLContext] | None = field(default=None, compare=False)
    """Makes what checks the certificate. None: the system's store."""

    @classmethod
    def of(cls, origin: str, proxy: str = "", trust: Callable[[], ssl.SSLContext] | None = None) -> Target:
        """Read an origin: scheme, host and port. Of one behind a proxy the route to the proxy is probed.

        What is beyond the proxy only requests show: a probe would have to be sent through it.
        """
        url = urlsplit(proxy or origin)
        is_tls = url.scheme == "https"
        port = url.port or (443 if is_tls else 80)
        return cls(url.hostname or "", port, is_tls and not proxy, proxy, trust)


class Prober:
    """Makes the probes. Belongs to one event loop."""

    def __init__(self, names: DnsCache) -> None:
        self.names = names
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._tls: ssl.SSLContext | None = None

    async def probe(self, target: Target) -> float:
        """Connect, and close at once. Gives the milliseconds that it took, TLS included, the lookup not.

        Raises ProbeError.
        """
        async with self._places:
            tls = await self._context(target) if target.is_tls else None
            addresses = await self._addresses(target)
            began_s = time.monotonic()
            try:
                await _shake_hands(await _connect(addresses), target, tls)
            except ProbeError:
                self.names.doubt(target.host)
                raise
            return (time.monotonic() - began_s) * 1e3

    async def look_up_anew(self, target: Target) -> None:
        """Look a host's name up, whatever is known of it. One that can't be looked up keeps its addresses."""
        self.names.doubt(target.host)
        with contextlib.suppress(ProbeError):
            await self._addresses(target)

    async def _addresses(self, target: Target) -> list[Any]:
        try:
            return await self.names.find(target.host, target.port)
        except TimeoutError:
            raise ProbeError(f"its name could not be looked up within {LOOKUP_S:g} s") from None
        except OSError as error:
            raise ProbeError(f"its name could not be looked up ({error.strerror or error})") from None

    async def _context(self, target: Target) -> ssl.SSLContext:
        if target.trust is not None:
            try:
                return await asyncio.to_thread(target.trust)
            except Exception as error:
                raise ProbeError(str(error)) from error
        if self._tls is None:
            # Reading the system's certificates takes tens of milliseconds.
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        return self._tls


async def _connect(addresses: list[Any]) -> socket.socket:
    try:
        async with asyncio.timeout(CONNECT_S):
            return await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_S)
    except TimeoutError:
        raise ProbeError(f"no connection came about within {CONNECT_S:g} s") from None
    except ConnectionRefusedError:
        raise ProbeError("nothing listens there") from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise ProbeError(why[:1].lower() + why[1:]) from None


async def _shake_hands(sock: socket.socket, target: Target, tls: ssl.SSLContext | None) -> None:
    with sock:
        if tls is None:
            return
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await _tls_handshake(sock, target.host, tls)
        except TimeoutError:
            raise ProbeError(f"TLS was not agreed upon within {HANDSHAKE_S:g} s") from None
        except ssl.SSLCertVerificationError as error:
            why = f"its certificate is not valid for it ({error.verify_message}): a captive portal or a proxy"
            raise ProbeError(why) from None
        except OSError as error:
            raise ProbeError(f"TLS failed ({error.strerror or error})") from None


async def _tls_handshake(sock: socket.socket, host: str, tls: ssl.SSLContext) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock, ssl=tls, server_hostname=host)
    transport.abort()
