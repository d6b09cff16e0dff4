"""Going away frees the server in every phase, and nothing is left open, however often."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import AbstractContextManager, aclosing
from pathlib import Path

import psutil
import pytest
from oblix.testing import (
    Answer,
    Cut,
    Fault,
    Hang,
    HangUp,
    InStream,
    ModelServer,
    OllamaServer,
    Refuse,
    Stall,
    Wire,
)
from support.drivers.model_requests import ask, question
from support.drivers.waiting import eventually
from support.faults import bad_ports
from support.proxies.tcp_proxy import door
from support.servers.providers import KINDS

from oblixd.models.base import Connection

Servers = Callable[[ModelServer], ModelServer]
Connections = Callable[[Connection], Connection]
Port = Callable[[], AbstractContextManager[int]]
KIND = KINDS["openai"]
ROUNDS = 1000
AT_ONCE = 40
NOTICED_S = 60.0
"""Far more than the second that is promised: the machine may be busy."""


@pytest.mark.parametrize("fault", [Hang(), Stall(0), Stall(2)], ids=["no head", "no token", "mid-stream"])
async def test_a_cancelled_task_frees_the_server(
    server: ModelServer, connection: Connection, fault: Fault
) -> None:
    server.script(Answer("One two three", fault=fault))
    asking = asyncio.create_task(ask(connection))
    [received] = await asyncio.to_thread(server.wait_for_requests, 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await asyncio.to_thread(received.abandoned.wait, NOTICED_S)
    assert connection.running == 0


async def test_closing_the_generator_frees_the_server(server: ModelServer, connection: Connection) -> None:
    server.script(Answer("One two three", fault=Stall(1)))
    async with aclosing(connection.stream(question())) as items:
        await anext(items)
    assert await asyncio.to_thread(server.requests[0].abandoned.wait, NOTICED_S)


@pytest.mark.parametrize("fault", [Hang(), Stall(0), Stall(2)], ids=["no head", "no token", "mid-stream"])
async def test_a_cancelled_task_frees_the_server_behind_tls(
    servers: Servers, connections: Connections, certificate: Path, fault: Fault
) -> None:
    server = servers(KIND.server())
    server.script(Answer("One two three", fault=fault))
    async with door(server.url.removesuffix("/v1"), certificate) as (watched, url):
        asking = asyncio.create_task(ask(connections(KIND.connect(KIND.spec(url)))))
        [received] = await asyncio.to_thread(server.wait_for_requests, 1)
        asking.cancel()
        await asyncio.wait([asking])
        await eventually(lambda: watched.open == 0)
        assert await asyncio.to_thread(received.abandoned.wait, NOTICED_S)


WAYS = pytest.mark.parametrize(
    ("scheme", "port"), [("http", bad_ports.deaf), ("https", bad_ports.mute)], ids=["tcp", "tls"]
)
"""Where a connection does not come about: nobody answers, or nothing is said of TLS."""


@WAYS
async def test_cancelled_while_connecting(connections: Connections, scheme: str, port: Port) -> None:
    with port() as number:
        connection = connections(KIND.connect(KIND.spec(f"{scheme}://127.0.0.1:{number}")))
        open_before = psutil.Process().num_fds()
        asking = asyncio.create_task(ask(connection))
        await eventually(lambda: psutil.Process().num_fds() > open_before)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await eventually(lambda: psutil.Process().num_fds() == open_before)
    assert connection.running == 0


@WAYS
async def test_closed_while_a_connection_is_opened_ahead(scheme: str, port: Port) -> None:
    with port() as number:
        connection = KIND.connect(KIND.spec(f"{scheme}://127.0.0.1:{number}"))
        open_before = psutil.Process().num_fds()
        connection.keep_warm()
        await eventually(lambda: psutil.Process().num_fds() > open_before)
        await connection.close()
        await eventually(lambda: psutil.Process().num_fds() == open_before)
    assert asyncio.all_tasks() == {asyncio.current_task()}


ENDLESS = [Hang(), Stall(0), Stall(1)]
SHORT = [HangUp(), Cut(1), Cut(1, reset=True), Refuse(500), None]


async def test_nothing_is_left_after_many_rounds(servers: Servers) -> None:
    server = servers(KIND.server())
    before = _count_leftovers()
    connection = KIND.connect(KIND.spec(server.url))
    connection.keep_warm()

    async def one_round() -> None:
        faults = (ENDLESS + SHORT) * (AT_ONCE // len(ENDLESS + SHORT))
        server.script(*(Answer("One two three", fault=fault) for fault in faults))
        asking = [asyncio.create_task(ask(connection)) for _ in faults]
        came = len(server.requests) + len(faults)
        received = (await asyncio.to_thread(server.wait_for_requests, came))[-len(faults) :]
        endless = sum(fault in ENDLESS for fault in faults)
        await eventually(lambda: sum(not one.done() for one in asking) == endless)
        for one in asking:
            one.cancel()
        await asyncio.wait(asking)
        for one in received:
            assert await asyncio.to_thread(one.done.wait, NOTICED_S)

    for _ in range(ROUNDS // AT_ONCE):
        await one_round()
    # How many idle connections are kept depends on how many prompts ran at once; each has two ends here.
    descriptors, tasks = _count_leftovers()
    assert descriptors <= before[0] + 2 * AT_ONCE
    assert tasks <= before[1] + 1
    await connection.close()
    # The server's threads close their ends a moment later.
    await eventually(lambda: all(now <= then for now, then in zip(_count_leftovers(), before, strict=True)))
    assert asyncio.all_tasks() == {asyncio.current_task()}


def _count_leftovers() -> tuple[int, int]:
    """Descriptors that are open, ours and the server's, and tasks that run."""
    gc.collect()
    return psutil.Process().num_fds(), len(asyncio.all_tasks())


class Pours(InStream):
    """Sends without end, and counts what it got rid of."""

    after = 1

    def __init__(self, piece: bytes) -> None:
        self._piece = piece
        self.sent = 0

    def strike(self, wire: Wire, error: bytes) -> bool:
        while True:
            wire.chunk(self._piece)
            self.sent += len(self._piece)


async def test_a_reader_that_stops_makes_the_server_stop(
    servers: Callable[[ModelServer], ModelServer], connections: Callable[[Connection], Connection]
) -> None:
    """What is under way is what sockets hold: nothing is gathered here."""
    line = b'{"message":{"role":"assistant","content":"' + b"x" * 65_000 + b'"},"done":false}\n'
    pours = Pours(line)
    server = servers(OllamaServer())
    server.script(Answer("One two", fault=pours))
    kind = KINDS["ollama"]
    async with aclosing(connections(kind.connect(kind.spec(server.url))).stream(question())) as items:
        await anext(items)
        sent = -1
        while sent != pours.sent:
            sent = pours.sent
            await asyncio.sleep(0.1)
        assert sent < 32 * 1024 * 1024
        await anext(items)
