"""How connections are opened: aiohttp's session and sockets, with explicit limits and without surprises.

No proxy and no cookie of the environment is used. A proxy of the configuration is.
Compression is not asked for.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from oblixd.models import loops
from oblixd.models.exchanges import Course
from oblixd.models.outbound import Way
from oblixd.models.servers import Server

KEPT_S = 300.0
"""How long an idle connection is kept open."""
DEAD_S = 30
"""Seconds after which the system gives up a connection whose other end acknowledges nothing.

Networks forget idle connections without a word: a request on one would wait for its answer in vain.
"""

LONGEST_HEADER = 64 * 1024
"""Bytes of one header of an answer. Gateways write policies, cookies and traces of several kilobytes."""

AddressInfo = tuple[Any, ...]
_check: ContextVar[Callable[[], None]] = ContextVar("check", default=lambda: None)


def session(server: Server, connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    """Make a session of a server's connections."""
    return aiohttp.ClientSession(
        connector=connector,
        headers={
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "oblix",
            loops.HEADER: loops.MARKER,
            **server.headers,
        },
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_line_size=LONGEST_HEADER,
        max_field_size=LONGEST_HEADER,
        trust_env=False,
        trace_configs=[_trace()],
        request_class=_CheckedRequest,
    )


@contextmanager
def checked(check: Callable[[], None]) -> Iterator[None]:
    """Have `check` called for the request of the block once its connection is open, before a byte is written.

    What it raises is raised by the request, and the connection is closed.
    """
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


class _CheckedRequest(aiohttp.ClientRequest):
    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        _check.get()()
        return await super().send(conn)


def route(way: Way, tls: ssl.SSLContext | None) -> dict[str, Any]:
    """Say for a request, in aiohttp's words, which proxy it takes and who checks the certificate."""
    words: dict[str, Any] = {} if tls is None else {"ssl": tls}
    if way.proxy is not None:
        words["proxy"] = URL(way.proxy.url)
        if way.proxy.user:
            words["proxy_auth"] = aiohttp.BasicAuth(way.proxy.user, way.proxy.password)
    return words


def connector(server: Server) -> aiohttp.BaseConnector:
    """Make what opens and keeps a server's connections.

    It has no limit: places are counted by the transport, for waiting for one is no failure to connect.
    """
    if server.socket_path is not None:
        return aiohttp.UnixConnector(str(server.socket_path), limit=0, keepalive_timeout=KEPT_S)
    return aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_S, socket_factory=watched_socket)


def watched_socket(address: AddressInfo) -> socket.socket:
    """Make a socket that the system watches while it is idle; see tcp(7)."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _WATCH.items():
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


def _known(**options: int) -> dict[int, int]:
    """Systems differ in what they can be told."""
    return {getattr(socket, name): value for name, value in options.items() if hasattr(socket, name)}


_WATCH = _known(TCP_KEEPIDLE=DEAD_S, TCP_KEEPINTVL=DEAD_S // 3, TCP_USER_TIMEOUT=DEAD_S * 1000)


def _trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(_telling(Course.connecting))
    trace.on_connection_create_end.append(_telling(Course.connected))
    trace.on_connection_reuseconn.append(_telling(Course.reusing))
    return trace


def _telling(note: Callable[[Course], None]) -> Callable[..., Any]:
    async def tell(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
        note(context.trace_request_ctx)

    return tell
