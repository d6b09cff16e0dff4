"""The seam's far side: aiohttp.

No redirect is followed. Reads come whole and are pulled, so a reader that stops
makes the server stop.
"""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from oblixd.models import dialling
from oblixd.models.base import ModelError
from oblixd.models.endpoints import origin_of
from oblixd.models.exchanges import Course, Failure, OnExchange
from oblixd.models.mishaps import named
from oblixd.models.outbound import Way
from oblixd.models.replies import Reply
from oblixd.models.servers import Patience, Server
from oblixd.models.waiting import Wait

_IN_ONE_PIECE = 512 * 1024


class Transport:
    """A pool of connections to one server."""

    def __init__(self, server: Server, way: Way, tls: ssl.SSLContext | None, on_exchange: OnExchange) -> None:
        """`tls` checks the server's certificate; None: by the system's store alone."""
        self.way = way
        self._server = server
        self._route = dialling.route(way, tls)
        self._origin = origin_of(server.peer.endpoint)
        self._on_exchange = on_exchange
        self._connector = dialling.connector(server)
        self._session = dialling.session(server, self._connector)
        self._replies: set[Reply] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._places = asyncio.Semaphore(server.max_connections)

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        patience: Patience,
        check: Callable[[], None],
    ) -> AsyncIterator[Reply]:
        """See `HttpClient.request`. `check` raises where the request may not be sent, when it would be."""
        async with self._places:
            course, sending = Course(), _Sending(method, path, body, check)
            try:
                async with self._reply(sending, patience, course) as reply:
                    yield reply
            finally:
                course.report(self._origin, self._on_exchange)

    async def open(self) -> asyncio.Future[None]:
        """Have an idle connection in the pool, TLS included; give what is done once it is closed.

        Nothing is sent. Raises ModelError.
        """
        course = Course()
        try:
            connection = await self._connected(course)
        finally:
            course.report(self._origin, self._on_exchange)
        closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if connection.protocol is not None and (lost := connection.protocol.closed) is not None:
            lost.add_done_callback(lambda how: _tell(how, closed))
        else:
            closed.set_result(None)
        connection.release()
        return closed

    async def retire(self) -> None:
        """Close every connection, those in use once their replies have ended."""
        try:
            await self._idle.wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close every connection, also those in use."""
        for reply in self._replies:
            reply.abort()
        await self._session.close()

    @asynccontextmanager
    async def _reply(self, sending: _Sending, patience: Patience, course: Course) -> AsyncIterator[Reply]:
        reply = await self._send(sending, patience, course)
        self._replies.add(reply)
        self._idle.clear()
        try:
            await reply.begin()
            yield reply
        finally:
            self._replies.discard(reply)
            if not self._replies:
                self._idle.set()
            await reply.let_go()

    async def _send(self, sending: _Sending, patience: Patience, course: Course) -> Reply:
        wait = Wait(self._server, patience, self._origin)
        try:
            response = await self._head(sending, wait, course)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if not course.reused or sending.refusal:
                raise self._failed(error, sending, wait, course) from None
            # The server gave up an idle connection in the moment it was used: it has not read the request.
            response = await self._once_more(sending, wait, course)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._failed(error, sending, wait, course) from None
        course.answered()
        return Reply(self._server.peer, response, wait, course)

    async def _once_more(self, sending: _Sending, wait: Wait, course: Course) -> aiohttp.ClientResponse:
        if self._session.closed:
            raise self._server.peer.unreachable("the connection was closed here")
        try:
            return await self._head(sending, wait, course)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._failed(error, sending, wait, course) from None

    async def _head(self, sending: _Sending, wait: Wait, course: Course) -> aiohttp.ClientResponse:
        with dialling.checked(sending.check):
            return await wait.for_the_head(
                self._session.request(
                    sending.method,
                    self._server.base_url + sending.path,
                    params=self._server.query,
                    data=sending.data(),
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, connect=wait.connect_s),
                    trace_request_ctx=course,
                    **self._route,
                )
            )

    async def _connected(self, course: Course) -> aiohttp.connector.Connection:
        patience = self._server.patience
        loop, route = asyncio.get_running_loop(), self._route
        request = aiohttp.ClientRequest("GET", URL(self._server.base_url), loop=loop, **route)
        course.connecting()
        try:
            connection = await self._connector.connect(
                request, [], aiohttp.ClientTimeout(total=None, connect=patience.connect_s)
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._named(error, Wait(self._server, patience, self._origin), course) from None
        course.connected()
        return connection

    def _failed(self, error: Exception, sending: _Sending, wait: Wait, course: Course) -> Exception:
        """What to raise. A body that was held back in its middle closed the connection, too."""
        return sending.refusal or self._named(error, wait, course)

    def _named(self, error: Exception, wait: Wait, course: Course) -> ModelError:
        failure, failed = named(self._server.peer, error, wait, self.way)
        failed.way = "direct" if self.way.is_silent else ""
        # What we close ourselves shows nothing of the way.
        course.failure = Failure.NONE if self._session.closed else failure
        return failed


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
    body: Mapping[str, Any] | None
    may_leave: Callable[[], None]
    """Raises where it may not be sent."""
    refusal: Exception | None = None
    """What that raised."""

    def check(self) -> None:
        try:
            self.may_leave()
        except Exception as refusal:
            self.refusal = refusal
            raise

    def data(self) -> bytes | io.BytesIO | None:
        if self.body is None:
            return None
        data = json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()
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
