"""The one way from here to a model's server over HTTP, whoever the provider is.

This side of the seam knows no HTTP library: `oblixd.models.transport` is the
other side, and is imported when the first request is made (or by `warm`), so
that the daemon serves before it has loaded.
"""

from __future__ import annotations

import asyncio
import importlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from oblixd.models.allowance import Allowance
from oblixd.models.egress import Egress, UnconfirmedError
from oblixd.models.exchanges import OnExchange, unheard
from oblixd.models.outbound import Trust, TrustError, Way
from oblixd.models.servers import Patience, Server
from oblixd.models.warmth import Warmth

if TYPE_CHECKING:
    from oblixd.models.replies import Reply
    from oblixd.models.transport import Transport


class HttpClient:
    """A pool of connections to one server. Belongs to one event loop."""

    def __init__(self, server: Server, on_exchange: OnExchange = unheard) -> None:
        self.server = server
        self.allowance = Allowance()
        """What the server's rate limit leaves."""
        self._on_exchange = on_exchange
        self._transport: Transport | None = None
        self._warmth = Warmth(self._open_ahead)
        self._retiring: set[asyncio.Task[None]] = set()
        self._closed = False

    @asynccontextmanager
    async def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, patience: Patience | None = None
    ) -> AsyncIterator[Reply]:
        """Send a request and give its reply once the head is there, whatever its status.

        The body holds nothing of a prompt: that is for `send`. Leaving the block closes the
        connection at once, unless the reply was read to its end or said to be `complete`.
        Raises ModelError.
        """
        async with self._request(method, path, body, patience, lambda: None) as reply:
            yield reply

    @asynccontextmanager
    async def send(
        self, path: str, body: Mapping[str, Any], egress: Egress, patience: Patience | None = None
    ) -> AsyncIterator[Reply]:
        """Post what holds a prompt's text, as `request` does, where the text may go there when it leaves.

        Raises ModelError REFUSED, and nothing was sent, where it may not.
        """
        async with AsyncExitStack() as stack:
            reply = None
            while reply is None:
                await egress.open()
                with suppress(UnconfirmedError):
                    sent = self._request("POST", path, body, patience, egress.check)
                    reply = await stack.enter_async_context(sent)
            yield reply

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

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        patience: Patience | None,
        check: Callable[[], None],
    ) -> AsyncIterator[Reply]:
        transport = await self._open()
        async with transport.request(method, path, body, patience or self.server.patience, check) as reply:
            if method == "POST":
                self.allowance.heard(reply.status, reply.headers)
            yield reply

    async def _open_ahead(self) -> asyncio.Future[None]:
        return await (await self._open()).open()

    async def _open(self) -> Transport:
        way = self.server.way()
        if self._transport is not None and self._transport.way != way:
            # The configuration leads another way now: what is under way there goes on to its end.
            former, self._transport = self._transport, None
            self._retiring.add(retiring := asyncio.create_task(former.retire()))
            retiring.add_done_callback(self._retiring.discard)
        if self._transport is None:
            module = await warm()
            tls = await self._trusted(way)
            # Somebody else may have opened or closed it while this one waited for the import.
            if self._transport is None and not self._closed:
                self._transport = module.Transport(self.server, way, tls, self._on_exchange)
        if self._transport is None or self._closed:
            raise self.server.peer.unreachable("the connection was closed here")
        return self._transport

    async def _trusted(self, way: Way) -> ssl.SSLContext | None:
        """Give what checks the server's certificate; None: the system's store alone."""
        if way.trust == Trust():
            return None
        try:
            return await asyncio.to_thread(way.trust.context)
        except TrustError as error:
            raise self.server.peer.unreachable(str(error)) from None


async def warm() -> ModuleType:
    """Import the HTTP library, beside the event loop. Later calls return at once."""
    return await asyncio.to_thread(importlib.import_module, "oblixd.models.transport")
