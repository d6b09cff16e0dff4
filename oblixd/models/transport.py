"""The seam's far side: aiohttp, with explicit limits and without surprises.

No redirect is followed, no proxy and no cookie of the environment is used, and
compression is neither asked for nor accepted. Reads come whole and are pulled,
so a reader that stops makes the server stop.
"""

from __future__ import annotations

import asyncio
import errno
import io
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp

from oblixd.models.base import ModelError
from oblixd.models.failures import Peer
from oblixd.models.servers import Patience, Server

LONGEST_DOCUMENT = 16 * 1024 * 1024
"""Bytes of a body that is read as one document."""
LONGEST_EXCERPT = 64 * 1024
"""Bytes that are read of an error's body."""
EXCERPT_S = 5.0
"""How long an error's body is waited for."""
DRAIN_S = 0.1
"""How long the end of the body may follow a complete answer, for the connection to be kept."""
KEPT_S = 60.0
"""How long an idle connection is kept open."""
_IN_ONE_PIECE = 512 * 1024


class Transport:
    """A pool of connections to one server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._session = _session(server)
        self._replies: set[Reply] = set()
        self._places = asyncio.Semaphore(server.max_connections)

    @asynccontextmanager
    async def request(
        self, method: str, path: str, body: Mapping[str, Any] | None, patience: Patience
    ) -> AsyncIterator[Reply]:
        """See `HttpClient.request`."""
        async with self._places:
            reply = await self._send(method, path, body, patience)
            self._replies.add(reply)
            try:
                reply.refuse_compression()
                yield reply
            finally:
                self._replies.discard(reply)
                await reply.let_go()

    async def close(self) -> None:
        """Close every connection, also those in use."""
        for reply in self._replies:
            reply.abort()
        await self._session.close()

    async def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, patience: Patience
    ) -> Reply:
        kept = SimpleNamespace(reused=False)
        started = time.monotonic()
        try:
            response = await self._head(method, path, body, patience, kept)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if not kept.reused:
                raise _failed(self._server.peer, error, patience) from None
            # The server gave up an idle connection in the moment it was used: it has not read the request.
            response = await self._once_more(method, path, body, patience)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _failed(self._server.peer, error, patience) from None
        return Reply(self._server.peer, response, patience, patience.first_s - (time.monotonic() - started))

    async def _once_more(
        self, method: str, path: str, body: Mapping[str, Any] | None, patience: Patience
    ) -> aiohttp.ClientResponse:
        if self._session.closed:
            raise self._server.peer.unreachable("the connection was closed here")
        try:
            return await self._head(method, path, body, patience, SimpleNamespace())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _failed(self._server.peer, error, patience) from None

    async def _head(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        patience: Patience,
        kept: SimpleNamespace,
    ) -> aiohttp.ClientResponse:
        async with asyncio.timeout(patience.first_s):
            return await self._session.request(
                method,
                self._server.base_url + path,
                data=None if body is None else _encoded(body),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=patience.connect_s),
                trace_request_ctx=kept,
            )


class Reply:
    """The head of a server's answer, and its body read by read."""

    def __init__(
        self, peer: Peer, response: aiohttp.ClientResponse, patience: Patience, left_s: float
    ) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.complete = False
        """Set once the answer is whole: the connection is then kept, though its end was not read."""
        self._peer = peer
        self._patience = patience
        self._left_s = left_s
        self._begun = False

    def progress(self) -> None:
        """Say that content came: from here on the server has `stall_s`."""
        self._begun = True
        self._left_s = self._patience.stall_s

    def hurry(self, seconds: float) -> None:
        """Wait no longer than this for the rest."""
        self._left_s = min(self._left_s, seconds)

    async def read(self) -> bytes:
        """Give what has arrived, at least a byte; nothing at the end of the body. Raises ModelError.

        Only the time spent waiting here counts against the server, not what the reader takes.
        """
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._left_s):
                return await self._response.content.readany()
        except TimeoutError:
            raise self._late() from None
        except (aiohttp.ClientError, RuntimeError) as error:
            # aiohttp has no error of its own for a connection that we closed ourselves.
            raise self._lost(error) from None
        finally:
            self._left_s -= time.monotonic() - started

    async def document(self, limit: int = LONGEST_DOCUMENT) -> bytes:
        """Read the body as one piece, of at most so many bytes. Raises ModelError."""
        document = bytearray()
        while read := await self.read():
            document += read
            if len(document) > limit:
                raise self._peer.broken(f"it sent more than {limit} bytes")
        return bytes(document)

    async def excerpt(self) -> bytes:
        """Read the beginning of an error's body, as far as it comes."""
        self.hurry(EXCERPT_S)
        excerpt = bytearray()
        try:
            while len(excerpt) < LONGEST_EXCERPT and (read := await self.read()):
                excerpt += read
        except ModelError:
            # The status says the most; the words that came with it are a bonus.
            return bytes(excerpt)
        return bytes(excerpt[:LONGEST_EXCERPT])

    def abort(self) -> None:
        """Close the connection and wake who waits: closing the session alone does not always do that."""
        self._response.close()

    async def let_go(self) -> None:
        """Keep the connection where the answer is complete and its body ends now; close it otherwise."""
        try:
            if self.complete:
                async with asyncio.timeout(DRAIN_S):
                    while await self._response.content.readany():
                        pass
        except (TimeoutError, aiohttp.ClientError, RuntimeError):
            # Nobody waits for the rest of a complete answer: all that is lost is the connection.
            return
        finally:
            self._response.close()

    def refuse_compression(self) -> None:
        """Raise ModelError where the body is compressed: it was not asked for, and can be a bomb."""
        encoding = self.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise self._peer.broken(f"it is compressed ({encoding[:40]}) though we do not accept that")

    def _late(self) -> ModelError:
        if self._begun:
            return self._peer.stalled(self._patience.stall_s)
        return self._peer.silent(self._patience.first_s)

    def _lost(self, error: Exception) -> ModelError:
        if self._begun or isinstance(error, aiohttp.ClientPayloadError):
            return self._peer.broken("the connection was lost in the middle")
        return self._peer.unreachable("the connection was lost before an answer came")


def _session(server: Server) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=_connector(server),
        headers={
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "oblix",
            **server.headers,
        },
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        trace_configs=[_trace()],
    )


def _connector(server: Server) -> aiohttp.BaseConnector:
    # Places are counted by the transport: waiting for one is not a failure to connect.
    if server.socket_path is not None:
        return aiohttp.UnixConnector(str(server.socket_path), limit=0, keepalive_timeout=KEPT_S)
    return aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_S)


def _trace() -> aiohttp.TraceConfig:
    async def reused(_session: Any, context: SimpleNamespace, _params: Any) -> None:
        context.trace_request_ctx.reused = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(reused)
    return trace


def _encoded(body: Mapping[str, Any]) -> bytes | io.BytesIO:
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    # A large body goes out in pieces, so that the loop serves others in between.
    return data if len(data) < _IN_ONE_PIECE else io.BytesIO(data)


def _failed(peer: Peer, error: Exception, patience: Patience) -> ModelError:
    """Name a failure before the head.

    The library's own error holds our headers, and so the key: it goes no further than here.
    """
    match error:
        case aiohttp.ClientConnectorDNSError():
            why = "there is no such host"
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch():
            why = f"TLS failed ({_reason(error)})"
        case aiohttp.ClientConnectorError() if error.os_error.errno in {errno.ECONNREFUSED, errno.ENOENT}:
            return peer.refused()
        case aiohttp.ClientConnectorError():
            why = _reason(error)
        case aiohttp.ClientResponseError():
            return peer.broken("it is not an HTTP answer")
        case aiohttp.ConnectionTimeoutError():
            why = f"no connection came about within {patience.connect_s:g} s"
        case TimeoutError():
            return peer.silent(patience.first_s)
        case _:
            why = "the connection was lost before an answer came"
    return peer.unreachable(why)


def _reason(error: Exception) -> str:
    os_error = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    return str(getattr(os_error, "strerror", None) or type(os_error).__name__)
