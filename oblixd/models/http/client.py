"""The one way from here to a model's server over HTTP, whoever the provider is.

This side of the seam knows no HTTP library: `oblixd.models.http.transport` is the
other side, and is imported when the first request is made (or by `warm`), so
that the daemon serves before it has loaded, and a daemon that nobody calls does without.

Keeps a connection open while nobody asks, so that the next prompt does not wait for one.
"""

from __future__ import annotations

import asyncio
import importlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from oblixd import background
from oblixd.models.base import ModelError
from oblixd.models.egress import Egress, UnconfirmedError
from oblixd.models.http.outbound import OutboundRoute, Trust, TrustError, has_system_store
from oblixd.models.http.rate_limit import RateLimit
from oblixd.models.http.request_trace import OnExchange, unheard
from oblixd.models.http.server import Server, Timeouts

FIRST_PAUSE_S = 1.0
"""How long after a drop the connection is opened again."""
LONGEST_PAUSE_S = 60.0
"""What the pause grows to, by doubling, while connections fail or do not last."""
SETTLED_S = 20.0
"""A connection that lasted so long was worth opening."""


class ConnectionWarmer:
    """A task that waits for a connection to close, and opens the next one. It never polls."""

    def __init__(self, open_one: Callable[[], Awaitable[asyncio.Future[None]]]) -> None:
        self._open_one = open_one
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    def keep(self) -> None:
        """Open a connection where none is, now, and from here on."""
        self._hurry.set()
        if self._task is None:
            self._task = background.begin(self._keep(), "keeping a connection warm")

    async def stop(self) -> None:
        """Open none any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _keep(self) -> None:
        pause_s = FIRST_PAUSE_S / 2
        while True:
            self._hurry.clear()
            lasted_s = await self._one()
            pause_s = next_pause_s(pause_s, lasted_s)
            if await self._wait_hurried(pause_s):
                pause_s = FIRST_PAUSE_S

    async def _one(self) -> float:
        """Open a connection and wait until it is closed. Gives how many seconds that took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await (await self._open_one())
        except ModelError:
            # It was reported as an exchange that failed. The next prompt tells who asks.
            return 0.0
        return loop.time() - began

    async def _wait_hurried(self, pause_s: float) -> bool:
        try:
            async with asyncio.timeout(pause_s):
                return await self._hurry.wait()
        except TimeoutError:
            return False


def next_pause_s(last_s: float, lasted_s: float) -> float:
    """Reckon the pause after a connection that lasted so long, from the pause before it."""
    return FIRST_PAUSE_S if lasted_s >= SETTLED_S else min(2 * last_s, LONGEST_PAUSE_S)


if TYPE_CHECKING:
    from oblixd.models.http.response import Response
    from oblixd.models.http.transport import Transport


Write = Callable[[], Mapping[str, Any] | None]
"""Writes a request's body; None: it has none."""


class HttpClient:
    """A pool of connections to one server. Belongs to one event loop."""

    def __init__(self, server: Server, on_exchange: OnExchange = unheard) -> None:
        self.server = server
        self.allowance = RateLimit()
        """What the server's rate limit leaves."""
        self._on_exchange = on_exchange
        self._transport: Transport | None = None
        self._warmth = ConnectionWarmer(self._open_connection)
        self._retiring: set[asyncio.Task[None]] = set()
        self._closed = False

    async def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, timeouts: Timeouts | None = None
    ) -> Response:
        """Send a request and give its reply once the head is there, whatever its status.

        The body holds nothing of a prompt: that is for `send`. Use the reply as `async with`: leaving the
        block closes the connection at once, unless the reply was read to its end or said to be `complete`.
        Raises ModelError.
        """
        return await self._request(method, path, lambda: body, timeouts, lambda: None)

    async def send(
        self, path: str, body: Write, egress: Egress, timeouts: Timeouts | None = None
    ) -> Response:
        """Post what holds a prompt's text, as `request` does, where the text may go there when it leaves.

        `body` is called when the bytes are needed: what waits for its turn holds no copy of the text.

        Raises ModelError REFUSED, and nothing was sent, where it may not.
        """
        while True:
            await egress.open()
            with suppress(UnconfirmedError):
                return await self._request("POST", path, body, timeouts, egress.check)

    def keep_warm(self) -> None:
        """Have a connection open before the next request, from here on. Nothing is sent on it."""
        if not self._closed:
            self._warmth.keep()

    async def close(self) -> None:
        """Close every connection. A request under way fails with ModelError; a later one, too."""
        self._closed = True
        await self._warmth.stop()
        await self.break_off()

    async def break_off(self) -> None:
        """Close every connection. A request under way fails with ModelError; a later one opens a new one."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()
        for retiring in self._retiring:
            retiring.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)

    async def _request(
        self,
        method: str,
        path: str,
        body: Write,
        timeouts: Timeouts | None,
        check: Callable[[], None],
    ) -> Response:
        transport = await self._current_transport()
        reply = await transport.request(method, path, body, timeouts or self.server.timeouts, check)
        if method == "POST":
            self.allowance.heard(reply.status, reply.headers)
        return reply

    async def _open_connection(self) -> asyncio.Future[None]:
        return await (await self._current_transport()).open_connection()

    async def _current_transport(self) -> Transport:
        outbound_route = self.server.outbound_route()
        if self._transport is not None and self._transport.outbound_route != outbound_route:
            # The configuration leads another way now: what is under way there goes on to its end.
            former, self._transport = self._transport, None
            self._retiring.add(retiring := asyncio.create_task(former.retire()))
            retiring.add_done_callback(self._retiring.discard)
        if self._transport is None:
            module = await warm()
            tls = await self._tls_context(outbound_route)
            # Somebody else may have opened or closed it while this one waited for the import.
            if self._transport is None and not self._closed:
                self._transport = module.Transport(self.server, outbound_route, tls, self._on_exchange)
        if self._transport is None or self._closed:
            raise self.server.errors.unreachable("the connection was closed here")
        return self._transport

    async def _tls_context(self, route: OutboundRoute) -> ssl.SSLContext | None:
        """Give what checks the server's certificate; None: the system's store alone."""
        if route.trust == Trust() and has_system_store():
            return None
        try:
            return await asyncio.to_thread(route.trust.context)
        except TrustError as error:
            raise self.server.errors.unreachable(str(error)) from None


async def warm() -> ModuleType:
    """Import the HTTP library, beside the event loop. Later calls return at once."""
    return await asyncio.to_thread(importlib.import_module, "oblixd.models.http.transport")
