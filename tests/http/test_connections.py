"""The connections that may be open, and those that say nothing."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from support.drivers.waiting import eventually

from oblixd.http.connections import ConnectionGate
from oblixd.http.exchange import JsonResponse

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def serving(most: int, first_request_s: float = 60.0) -> AsyncIterator[int]:
    """A server behind a gate, and its port."""

    async def handle(request: web.BaseRequest) -> web.Response:
        gate.note_request(request.protocol)
        return web.Response(text="here")

    server = web.Server(handle)
    gate = ConnectionGate(
        server,
        lambda failure: {"error": failure.message},
        most=most,
        first_request_s=first_request_s,
        sweep_s=0.05,
    )
    listener = await asyncio.get_running_loop().create_server(gate, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        gate.close()
        listener.close()
        await server.shutdown(1)


class Visitor:
    """A client that holds its connection."""

    @classmethod
    async def arrive(cls, port: int) -> Visitor:
        self = cls()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        return self

    async def ask(self) -> str:
        self.writer.write(GET)
        head = await self.reader.readuntil(b"\r\n\r\n")
        await self.reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
        return head.decode()

    async def leave(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def test_one_too_many_is_refused_with_a_sentence_and_comes_in_later() -> None:
    async with asyncio.timeout(60), serving(most=2) as port:
        first, second = [await Visitor.arrive(port) for _ in range(2)]
        assert "200 OK" in await first.ask()
        assert "200 OK" in await second.ask()
        third = await Visitor.arrive(port)
        head, _, body = (await third.reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"x-oblix-reason: TOO_MANY_CONNECTIONS" in head
        assert b"Retry-After: 1" in head
        assert b"has 2 connections open" in body
        await third.leave()
        assert "200 OK" in await first.ask(), "those that are in stay"
        await second.leave()
        await first.ask()
        while True:
            late = await Visitor.arrive(port)
            late.writer.write(GET)
            if (await late.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200"):
                break
            await late.leave()
        await late.leave()
        await first.leave()


async def test_a_connection_that_says_nothing_is_ended_and_others_stay() -> None:
    async with asyncio.timeout(60), serving(most=10, first_request_s=1.0) as port:
        talker = await Visitor.arrive(port)
        assert "200 OK" in await talker.ask()
        silent, slow = [await Visitor.arrive(port) for _ in range(2)]
        slow.writer.write(GET[:20])
        assert await silent.reader.read() == b""
        assert await slow.reader.read() == b""
        assert "200 OK" in await talker.ask()
        for one in (talker, silent, slow):
            await one.leave()


async def test_a_silent_connection_that_its_client_closed_is_forgotten_before_its_time() -> None:
    server = web.Server(lambda _request: web.Response())
    gate = ConnectionGate(server, lambda _failure: {}, first_request_s=600, sweep_s=0.05)
    listener = await asyncio.get_running_loop().create_server(gate, "127.0.0.1", 0)
    async with asyncio.timeout(60):
        visitor = await Visitor.arrive(listener.sockets[0].getsockname()[1])
        await eventually(lambda: bool(server.connections))
        held = weakref.ref(server.connections[0].transport)
        await visitor.leave()
        await eventually(lambda: gc.collect() >= 0 and held() is None)
    gate.close()
    listener.close()


async def test_an_idle_connection_keeps_no_request_and_no_answer() -> None:
    answers: list[weakref.ref[JsonResponse]] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        gate.note_request(request.protocol)
        answer = JsonResponse({"long": "x" * 100_000})
        answers.append(weakref.ref(answer))
        return answer

    server = web.Server(handle)
    gate = ConnectionGate(server, lambda _failure: {})
    listener = await asyncio.get_running_loop().create_server(gate, "127.0.0.1", 0)
    async with asyncio.timeout(60):
        visitor = await Visitor.arrive(listener.sockets[0].getsockname()[1])
        assert "200 OK" in await visitor.ask()
        await eventually(lambda: (kept := answers[0]()) is None or kept.body is None)
        await visitor.leave()
    gate.close()
    listener.close()
    await server.shutdown(1)
