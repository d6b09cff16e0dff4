"""Bound the connections that are open: all of them, those of one other machine, and those that say nothing.

A request counts for its token, which is only known once it was read. A connection counts from its first
byte on, and one that never sends a request would hold its place for ever.
"""

from __future__ import annotations

import asyncio
import ipaddress
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from aiohttp import web

from oblixd.errors import UnavailableError
from oblixd.http.failures import Failure, failure_of

MAX_CONNECTIONS = 1024
"""At most half of the files that the process may open: the daemon needs the rest."""
MAX_FROM_ONE_MACHINE = 128
"""Connections of one other machine. Those of this machine count together for the bound above."""
FIRST_REQUEST_S = 60.0
"""Seconds in which a connection sends the head of its first request."""
SWEEP_S = 5.0
"""Every so many seconds one timer looks at all silent connections."""
REFUSED_S = 1.0
"""A refused connection is ended after so long, if its client does not end it before."""


class ConnectionGate:
    """Makes the protocols of new connections, for `loop.create_server`."""

    def __init__(
        self,
        server: web.Server,
        describe: Callable[[Failure], Mapping[str, Any]],
        *,
        most: int = MAX_CONNECTIONS,
        first_request_s: float = FIRST_REQUEST_S,
        sweep_s: float = SWEEP_S,
    ) -> None:
        """`describe` gives an error's body."""
        self._server = server
        self._describe = describe
        self._most = min(most, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._first_request_s = first_request_s
        self._sweep_s = sweep_s
        self._silent: dict[asyncio.BaseProtocol, _Silent] = {}
        """Connections without a request so far, the oldest first."""
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self) -> asyncio.Protocol:
        """Make the protocol of one connection."""
        return _Arrival(self)

    def admit(self, transport: asyncio.Transport) -> None:
        """Hand a connection to the server, or refuse it."""
        failure = self._refusal(transport)
        if failure is not None:
            transport.write(_answer(failure, self._describe(failure)))
            if transport.can_write_eof():
                transport.write_eof()
            # What the client sends is read: if it were not, the system would reset the connection and the
            # client would lose the answer.
            asyncio.get_running_loop().call_later(REFUSED_S, transport.close)
            return
        protocol = self._server()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        loop = asyncio.get_running_loop()
        self._silent[protocol] = _Silent(transport, loop.time() + self._first_request_s)
        if self._timer is None:
            self._timer = loop.call_later(self._sweep_s, self._sweep)

    def note_request(self, protocol: asyncio.BaseProtocol | None) -> None:
        """Note that a connection has sent a request."""
        if protocol is not None:
            self._silent.pop(protocol, None)

    def close(self) -> None:
        """Forget the connections."""
        if self._timer is not None:
            self._timer.cancel()
        self._silent.clear()

    def _refusal(self, transport: asyncio.Transport) -> Failure | None:
        connections = self._server.connections
        if len(connections) >= self._most:
            message = (
                f"The HTTP endpoint has {self._most:,} connections open: close those that are not used, or "
                "come again."
            )
            return failure_of(UnavailableError("TOO_MANY_CONNECTIONS", message, limit=self._most))
        host = _other_machine(transport)
        if host and sum(_other_machine(one.transport) == host for one in connections) >= MAX_FROM_ONE_MACHINE:
            message = (
                f"{host} has {MAX_FROM_ONE_MACHINE} connections open: close those that are not used, or come "
                "again."
            )
            return failure_of(UnavailableError("TOO_MANY_CONNECTIONS", message, limit=MAX_FROM_ONE_MACHINE))
        return None

    def _sweep(self) -> None:
        """End the connections that were silent for too long, and forget those that their clients closed."""
        loop = asyncio.get_running_loop()
        for protocol, silent in list(self._silent.items()):
            if silent.until_s <= loop.time():
                silent.transport.close()
            if silent.transport.is_closing():
                del self._silent[protocol]
        self._timer = loop.call_later(self._sweep_s, self._sweep) if self._silent else None


@dataclass(frozen=True, slots=True)
class _Silent:
    """A connection that has not sent a request."""

    transport: asyncio.Transport
    until_s: float
    """When it is ended, in the loop's time."""


class _Arrival(asyncio.Protocol):
    """Stands for a connection until it is known where it comes from."""

    def __init__(self, gate: ConnectionGate) -> None:
        self._gate = gate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol.connection_made`."""
        self._gate.admit(cast("asyncio.Transport", transport))


def _other_machine(transport: asyncio.BaseTransport | None) -> str:
    """Return the address of the machine that called; empty where it is this one."""
    peer = transport.get_extra_info("peername") if transport is not None else None
    if not peer or ipaddress.ip_address(peer[0].partition("%")[0]).is_loopback:
        return ""
    return str(peer[0])


def _answer(failure: Failure, body: Mapping[str, Any]) -> bytes:
    content = msgspec.json.encode(body)
    headers = {
        **failure.headers,
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        "Connection": "close",
    }
    lines = [
        f"HTTP/1.1 {failure.status} Service Unavailable",
        *(f"{key}: {value}" for key, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content
