"""The seam's far side: aiohttp.

No redirect is followed. Reads come whole and are pulled, so a reader that stops
makes the server stop.

How connections are opened: aiohttp's session and sockets, with explicit limits and without surprises.

No proxy and no cookie of the environment is used. A proxy of the configuration is.
Compression is not asked for.

Names what failed before the head of an answer: for a person, and for who watches the way there.
"""

from __future__ import annotations

import asyncio
import errno
import io
import socket
import ssl
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiohttp
import msgspec
from yarl import URL

from oblixd.models.base import ModelError
from oblixd.models.endpoints import origin_of
from oblixd.models.http import loops
from oblixd.models.http.outbound import OutboundRoute
from oblixd.models.http.request_trace import Failure, OnExchange, RequestTrace
from oblixd.models.http.response import Response
from oblixd.models.http.server import Server, ServerErrors, Timeouts
from oblixd.models.http.waiting import Wait

KEPT_S = 300.0
"""How long an idle connection is kept open."""
DEAD_S = 30
"""Seconds after which the system gives up a connection whose other end acknowledges nothing.

Networks forget idle connections without a word: a request on one would wait for its answer in vain.
"""

LONGEST_HEADER = 64 * 1024
"""Bytes of one header of an answer. Gateways write policies, cookies and traces of several kilobytes."""

AddressInfo = tuple[Any, ...]


class _Underway(NamedTuple):
    """The request that a task sends."""

    check: Callable[[], None]
    """Raises where it may not be sent. Called once its connection is open, before a byte is written."""
    trace: RequestTrace


_underway: ContextVar[_Underway] = ContextVar("underway")


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
        request_class=_CheckedRequest,
    )


class _CheckedRequest(aiohttp.ClientRequest):
    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        # What this raises is raised by the request, and the connection is closed.
        _underway.get().check()
        return await super().send(conn)


class _TracedConnector(aiohttp.BaseConnector):
    """Notes when a connection is opened.

    aiohttp's own tracing tells that too, and calls back for each head and chunk of every request.
    """

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own signature
    ) -> Any:
        trace = _underway.get().trace
        trace.connecting()
        connection = await super()._create_connection(req, traces, timeout)
        trace.connected()
        return connection


class _SocketConnector(_TracedConnector, aiohttp.UnixConnector):
    pass


class _NetworkConnector(_TracedConnector, aiohttp.TCPConnector):
    pass


def route(outbound_route: OutboundRoute, tls: ssl.SSLContext | None) -> dict[str, Any]:
    """Say for a request, in aiohttp's words, which proxy it takes and who checks the certificate."""
    words: dict[str, Any] = {} if tls is None else {"ssl": tls}
    if outbound_route.proxy is not None:
        words["proxy"] = URL(outbound_route.proxy.url)
        if outbound_route.proxy.user:
            words["proxy_auth"] = aiohttp.BasicAuth(outbound_route.proxy.user, outbound_route.proxy.password)
    return words


def connector(server: Server) -> aiohttp.BaseConnector:
    """Make what opens and keeps a server's connections.

    It has no limit: places are counted by the transport, for waiting for one is no failure to connect.
    """
    if server.socket_path is not None:
        return _SocketConnector(str(server.socket_path), limit=0, keepalive_timeout=KEPT_S)
    return _NetworkConnector(limit=0, keepalive_timeout=KEPT_S, socket_factory=watched_socket)


def watched_socket(address: AddressInfo) -> socket.socket:
    """Make a socket that the system watches while it is idle; see tcp(7)."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _WATCH.items():
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


def _keepalive_options(**options: int) -> dict[int, int]:
    """Systems differ in what they can be told."""
    return {getattr(socket, name): value for name, value in options.items() if hasattr(socket, name)}


_WATCH = _keepalive_options(TCP_KEEPIDLE=DEAD_S, TCP_KEEPINTVL=DEAD_S // 3, TCP_USER_TIMEOUT=DEAD_S * 1000)


_UNKNOWN_AUTHORITY = {2, 18, 19, 20, 21}
"""OpenSSL's codes (X509_verify_cert_error_string(3)) for a certificate whose authority nobody here knows."""
_NOBODY_LISTENS = {errno.ECONNREFUSED, errno.ENOENT}


def name_failure(
    server_errors: ServerErrors, error: Exception, wait: Wait, outbound_route: OutboundRoute
) -> tuple[Failure, ModelError]:
    """Name a failure.

    The library's own error holds our headers, and so the key: it goes no further than here.
    """
    match error:
        # Behind a proxy only the proxy's own name is looked up here.
        case (
            aiohttp.ClientProxyConnectionError()
            | aiohttp.ClientHttpProxyError()
            | aiohttp.ClientConnectorDNSError()
        ) if outbound_route.proxy is not None:
            return Failure.UNREACHABLE, server_errors.unreachable(
                _of_proxy(error, outbound_route.proxy.url), ""
            )
        case aiohttp.ClientConnectorError() if error.os_error.errno in _NOBODY_LISTENS:
            return Failure.REFUSED, server_errors.refused_connection(outbound_route.hint)
        case aiohttp.ClientResponseError():
            return Failure.GARBLED, server_errors.broken_stream("it is not an HTTP answer")
        case TimeoutError() if not isinstance(error, aiohttp.ConnectionTimeoutError):
            return Failure.SILENT, server_errors.silent(wait.limit_s)
    failure, why = _on_the_way(error, wait)
    if outbound_route.proxy is not None:
        why = f"{why} (by the proxy {outbound_route.proxy.url})"
    return failure, server_errors.unreachable(why, outbound_route.hint)


def _of_proxy(error: Exception, proxy: str) -> str:
    """Say what the proxy itself did."""
    if not isinstance(error, aiohttp.ClientHttpProxyError):
        is_unknown = isinstance(error, aiohttp.ClientConnectorDNSError)
        why = "there is no such host" if is_unknown else _reason(error)
        return f"the proxy {proxy} can't be reached ({why}): check network.proxy"
    match error.status:
        case 407:
            why = "wants a user and a password: write http://USER:PASSWORD@HOST:PORT in network.proxy"
        case 403 | 405 | 451:
            why = "does not let it through: ask those who run the proxy"
        case 502 | 503 | 504:
            why = "can't reach it either"
        case status:
            why = f"answered {status}"
    return f"the proxy {proxy} {why}"


def _on_the_way(error: Exception, wait: Wait) -> tuple[Failure, str]:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Failure.DNS, "there is no such host"
        case aiohttp.ClientConnectorCertificateError():
            return Failure.TLS, _certificate_failure(error)
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch():
            return Failure.TLS, f"TLS failed ({_reason(error)})"
        case aiohttp.ConnectionTimeoutError():
            return Failure.CONNECT_TIMEOUT, f"no connection came about within {wait.connect_s:g} s"
        case aiohttp.ClientConnectorError():
            return Failure.UNREACHABLE, _reason(error)
    return Failure.LOST, "the connection was lost before an answer came"


def _certificate_failure(error: aiohttp.ClientConnectorCertificateError) -> str:
    found = error.certificate_error
    reason = getattr(found, "verify_message", "") or "certificate verify failed"
    if getattr(found, "verify_code", 0) not in _UNKNOWN_AUTHORITY:
        return f"TLS failed: its certificate is not valid ({reason})"
    return (
        f"its certificate is not trusted ({reason}). If a company's own authority signs certificates here, "
        "name its file in network.ca_file"
    )


def _reason(error: Exception) -> str:
    os_error = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    return str(getattr(os_error, "strerror", None) or type(os_error).__name__)


_IN_ONE_PIECE = 512 * 1024


class Transport:
    """A pool of connections to one server."""

    def __init__(
        self,
        server: Server,
        outbound_route: OutboundRoute,
        tls: ssl.SSLContext | None,
        on_exchange: OnExchange,
    ) -> None:
        """`tls` checks the server's certificate; None: by the system's store alone."""
        self.outbound_route = outbound_route
        self._server = server
        self._route = route(outbound_route, tls)
        self._origin = origin_of(server.errors.endpoint)
        self._on_exchange = on_exchange
        self._connector = connector(server)
        self._session = session(server, self._connector)
        self._replies: set[Response] = set()
        self._open = 0
        """Requests that have not ended, those that wait for a place too."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._places = asyncio.Semaphore(server.max_connections)

    async def request(
        self,
        method: str,
        path: str,
        body: Callable[[], Mapping[str, Any] | None],
        timeouts: Timeouts,
        check: Callable[[], None],
    ) -> Response:
        """See `HttpClient.request`. `check` raises where the request may not be sent, when it would be."""
        self._open += 1
        self._idle.clear()
        try:
            await self._places.acquire()
        except BaseException:
            self._count_down()
            raise
        trace, sending = RequestTrace(), _Sending(method, path, body, check)
        wait = Wait(self._server, timeouts, self._origin)
        try:
            response = await self._send(sending, wait, trace)
        except BaseException:
            self._end(wait, trace)
            raise
        finally:
            sending.forget()
        reply = Response(self._server.errors, response, wait, trace, self._let_go)
        self._replies.add(reply)
        try:
            await reply.begin()
        except BaseException:
            await reply.let_go()
            raise
        return reply

    def _let_go(self, reply: Response) -> None:
        """Hear that nothing more is read of a reply."""
        self._replies.discard(reply)
        self._end(reply.wait, reply.trace)

    def _end(self, wait: Wait, trace: RequestTrace) -> None:
        wait.close()
        trace.report(self._origin, self._on_exchange)
        self._places.release()
        self._count_down()

    def _count_down(self) -> None:
        self._open -= 1
        if not self._open:
            self._idle.set()

    async def open_connection(self) -> asyncio.Future[None]:
        """Have an idle connection in the pool, TLS included; give what is done once it is closed.

        Nothing is sent. Raises ModelError.
        """
        trace = RequestTrace()
        try:
            connection = await self._connect(trace)
        finally:
            trace.report(self._origin, self._on_exchange)
        closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if connection.protocol is not None and (lost := connection.protocol.closed) is not None:
            lost.add_done_callback(lambda how: _tell(how, closed))
        else:
            closed.set_result(None)
        connection.release()
        return closed

    async def retire(self) -> None:
        """Close every connection, once the requests that go on have ended."""
        try:
            await self._idle.wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close every connection, also those in use."""
        for reply in self._replies:
            reply.abort()
        await self._session.close()

    async def _send(self, sending: _Sending, wait: Wait, trace: RequestTrace) -> aiohttp.ClientResponse:
        try:
            response = await self._head(sending, wait, trace)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if not trace.is_reused or sending.refusal:
                raise self._failure(error, sending, wait, trace) from None
            # The server gave up an idle connection in the moment it was used: it has not read the request.
            response = await self._once_more(sending, wait, trace)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._failure(error, sending, wait, trace) from None
        trace.answered()
        trace.address = _address(response.connection)
        return response

    async def _once_more(self, sending: _Sending, wait: Wait, trace: RequestTrace) -> aiohttp.ClientResponse:
        try:
            return await self._head(sending, wait, trace)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._failure(error, sending, wait, trace) from None

    async def _head(self, sending: _Sending, wait: Wait, trace: RequestTrace) -> aiohttp.ClientResponse:
        if self._session.closed:
            raise self._server.errors.unreachable("the connection was closed here")
        trace.reusing()  # until the connector says that it opens one
        token = _underway.set(_Underway(sending.check, trace))
        try:
            return await wait.until(
                self._session.request(
                    sending.method,
                    self._server.base_url + sending.path,
                    params=self._server.query,
                    data=sending.data(),
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, connect=wait.connect_s),
                    **self._route,
                )
            )
        finally:
            _underway.reset(token)

    async def _connect(self, trace: RequestTrace) -> aiohttp.connector.Connection:
        timeouts = self._server.timeouts
        loop, route = asyncio.get_running_loop(), self._route
        request = aiohttp.ClientRequest("GET", URL(self._server.base_url), loop=loop, **route)
        token = _underway.set(_Underway(lambda: None, trace))
        try:
            connection = await self._connector.connect(
                request, [], aiohttp.ClientTimeout(total=None, connect=timeouts.connect_s)
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._name_failure(error, Wait(self._server, timeouts, self._origin), trace) from None
        finally:
            _underway.reset(token)
        trace.address = _address(connection)
        return connection

    def _failure(self, error: Exception, sending: _Sending, wait: Wait, trace: RequestTrace) -> Exception:
        """Return what to raise. A body that was held back in its middle closed the connection, too."""
        return sending.refusal or self._name_failure(error, wait, trace)

    def _name_failure(self, error: Exception, wait: Wait, trace: RequestTrace) -> ModelError:
        failure, failed = name_failure(self._server.errors, error, wait, self.outbound_route)
        failed.way = "direct" if self.outbound_route.is_silent else ""
        # What we close ourselves shows nothing of the way.
        trace.failure = Failure.NONE if self._session.closed else failure
        return failed


def _address(connection: aiohttp.connector.Connection | None) -> str:
    """Return the IP address at the other end; empty where the connection has gone or is no network's."""
    transport = connection.transport if connection is not None else None
    peer = transport.get_extra_info("peername") if transport is not None else None
    return str(peer[0]) if isinstance(peer, tuple) else ""


def _tell(how: asyncio.Future[None], closed: asyncio.Future[None]) -> None:
    # How it was closed interests nobody; a future whose error is not looked at complains.
    if not how.cancelled():
        how.exception()
    if not closed.done():
        closed.set_result(None)


@dataclass(slots=True)
class _Sending:
    """A request on its way out."""

    method: str
    path: str
    write: Callable[[], Mapping[str, Any] | None]
    """Writes the body, when its turn has come."""
    may_leave: Callable[[], None]
    """Raises where it may not be sent."""
    refusal: Exception | None = None
    """What that raised."""
    body_bytes: bytes | None = None
    """The body, until the server has answered: a connection that was lost at once is tried once more."""

    def check(self) -> None:
        try:
            self.may_leave()
        except Exception as refusal:
            self.refusal = refusal
            raise

    def forget(self) -> None:
        """Let go of the text: timers that began with the request hold on to what checked it, for minutes."""
        self.body_bytes = None
        self.write = lambda: None

    def data(self) -> bytes | io.BytesIO | None:
        if self.body_bytes is None:
            if (body := self.write()) is None:
                return None
            self.body_bytes = msgspec.json.encode(body)
        data = self.body_bytes
        # A large body goes out in pieces, so that the loop serves others in between.
        return data if len(data) < _IN_ONE_PIECE else _Pieces(data, self.check)


class _Pieces(io.BytesIO):
    """A body that is read piece by piece, and asks before each whether it may leave."""

    def __init__(self, data: bytes, check: Callable[[], None]) -> None:
        super().__init__(data)
        self._check = check

    def read(self, size: int | None = -1, /) -> bytes:
        self._check()
        return super().read(size)
