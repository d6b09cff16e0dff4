"""A pool of connections that is closed while requests wait: for a place, or for the head of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.drivers.waiting import eventually

from oblixd.models.base import ModelError, ModelErrorKind
from oblixd.models.http.outbound import OutboundRoute
from oblixd.models.http.request_trace import unheard
from oblixd.models.http.response import Response
from oblixd.models.http.server import Server, ServerErrors
from oblixd.models.http.transport import Transport

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello"


class Slow:
    """A server that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.asked += 1
                await self.may_answer.wait()
                writer.write(ANSWER)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def transport_to(slow: Slow, *, places: int) -> AsyncIterator[Transport]:
    async with await asyncio.start_server(slow.handle, "127.0.0.1", 0) as listener:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        server = Server(ServerErrors("It", url), url, max_connections=places)
        made = Transport(server, OutboundRoute(), None, unheard)
        try:
            yield made
        finally:
            await made.close()


def get(transport: Transport) -> asyncio.Task[bytes]:
    async def read() -> bytes:
        timeouts = Server(ServerErrors("It", ""), "").timeouts
        reply: Response = await transport.request("GET", "/", lambda: None, timeouts, lambda: None)
        async with reply:
            return await reply.document()

    return asyncio.create_task(read())


@pytest.mark.parametrize("places", [1, 2])
async def test_requests_that_wait_end_well_where_connections_are_given_up(places: int) -> None:
    slow = Slow()
    async with transport_to(slow, places=places) as transport:
        waiting = [get(transport), get(transport)]
        await eventually(lambda: slow.asked == places)
        retiring = asyncio.create_task(transport.retire())
        await asyncio.sleep(0)
        slow.may_answer.set()
        assert await asyncio.gather(*waiting) == [b"Hello"] * 2
        await retiring


async def test_a_request_that_waits_for_a_connection_fails_when_they_are_closed() -> None:
    slow = Slow()
    async with transport_to(slow, places=1) as transport:
        waiting = [get(transport), get(transport)]
        await eventually(lambda: slow.asked == 1)
        await transport.close()
        slow.may_answer.set()
        errors = await asyncio.gather(*waiting, return_exceptions=True)
    for error in errors:
        assert isinstance(error, ModelError)
        assert error.kind is ModelErrorKind.UNREACHABLE


async def test_a_cancelled_request_leaves_no_trace() -> None:
    slow = Slow()
    async with transport_to(slow, places=1) as transport:
        first, second = get(transport), get(transport)
        await eventually(lambda: slow.asked == 1)
        for task in (second, first):
            task.cancel()
        await asyncio.wait([first, second])
        slow.may_answer.set()
        assert await get(transport) == b"Hello"
        await asyncio.wait_for(transport.retire(), 60)
