"""Executions that wait, that many read, that are long and that are many: through the daemon, each paired."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path

import grpc
from google.protobuf.struct_pb2 import Struct
from measure import Line, anonymous_mb, report
from oblix.testing import Answer, InStream, OllamaServer, Stall, Wire
from oblix.v1 import executions_pb2, executions_pb2_grpc, messages_pb2, models_pb2, models_pb2_grpc
from support.drivers.daemon import RunningDaemon, run_daemon

from oblixd.scheduling.slots import ModelSlots, Priority, Ticket

WAITING, PROBES = 10_000, 200
STREAMS, LATE, TOKENS, TOKENS_A_SECOND = 64, 32, 400, 50
OPEN, A_SERVER = 1000, 50
LONG_BYTES = 7 << 20
STORY = " ".join(f"w{number}" for number in range(TOKENS))


def main() -> int:
    """One daemon after the other, so that none pays for what the one before did."""
    parts = (waiting_line, daemon_queue, many_streams, long_answer, many_open)
    return report("Executions", [line for part in parts for line in part()])


def request(text: str, handle: str, **fields: object) -> executions_pb2.ExecuteRequest:
    """A prompt without a session."""
    given = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=text)])
    return executions_pb2.ExecuteRequest(input=[given], candidates=[handle], **fields)


def hook(daemon: RunningDaemon, url: str, **options: object) -> str:
    """The handle of a server's model."""
    given = Struct()
    given.update(options)
    asked = models_pb2.HookModelRequest(
        provider=models_pb2.PROVIDER_OLLAMA, name="llama2", endpoint=url, options=given
    )
    return models_pb2_grpc.ModelServiceStub(daemon.channel).HookModel(asked).handle


@contextmanager
def harness(**environ: str) -> Iterator[tuple[RunningDaemon, OllamaServer]]:
    """A daemon and a server."""
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as home,
        OllamaServer(["llama2"]) as server,
        run_daemon(Path(home), OBLIX_EMBEDDED_ENABLED="false", **environ) as daemon,
    ):
        yield daemon, server


def waiting_line() -> list[Line]:
    """The line by itself, ten thousand clients in it."""
    enter, leave = asyncio.run(_line_times())
    return [
        Line(f"enqueue behind {WAITING:,}, the line alone (median)", enter, "ms", 1.0),
        Line("leave it again (median)", leave, "ms", 1.0),
    ]


async def _line_times() -> tuple[float, float]:
    places = ModelSlots(2 * WAITING)

    async def wait(number: int) -> None:
        ticket = Ticket(f"client {number}", Priority.INTERACTIVE, lambda _: None)
        async with places.acquire("model", 1, ticket):
            await asyncio.get_running_loop().create_future()

    tasks = [asyncio.create_task(wait(number)) for number in range(WAITING + 1)]
    await asyncio.sleep(0)
    enters, leaves = [], []
    for number in range(PROBES):
        task = asyncio.create_task(wait(number * 7))
        enters.append(await _tick_ms())
        task.cancel()
        leaves.append(await _tick_ms())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return statistics.median(enters), statistics.median(leaves)


async def _tick_ms() -> float:
    began = time.perf_counter()
    await asyncio.sleep(0)
    return (time.perf_counter() - began) * 1e3


def daemon_queue() -> list[Line]:
    """What a prompt pays for a long line, from the call to its decision, and from the cancel to its end."""
    with harness(OBLIX_EXECUTION_QUEUE_LENGTH=str(2 * WAITING), OBLIX_DAEMON_GRACE_S="0") as (daemon, server):
        server.default = lambda _: Answer("One two", fault=Stall(1))
        handle = hook(daemon, server.url, max_running=1)
        stub = executions_pb2_grpc.ExecutionServiceStub(daemon.channel)
        holder = stub.Execute(request("hold", handle))
        next(event for event in holder if event.HasField("delta"))
        short = _queue_ms(stub, handle)
        asyncio.run(_fill(daemon, handle))
        long = _queue_ms(stub, handle)
        holder.cancel()
    return [
        Line("Execute to started, nobody waits", short[0], "ms"),
        Line(f"the same behind {WAITING:,}, added", long[0] - short[0], "ms", 1.0),
        Line("CancelExecution, nobody else waits", short[1], "ms"),
        Line(f"the same behind {WAITING:,}, added", long[1] - short[1], "ms", 1.0),
    ]


def _queue_ms(stub: executions_pb2_grpc.ExecutionServiceStub, handle: str) -> tuple[float, float]:
    enters, leaves = [], []
    for number in range(PROBES):
        name = f"probe {time.time_ns()} {number}"
        began = time.perf_counter()
        call = stub.Execute(request("Hi", handle, request_id=name))
        next(event for event in call if event.HasField("started"))
        entered = time.perf_counter()
        stub.CancelExecution(executions_pb2.CancelExecutionRequest(request_id=name))
        leaves.append((time.perf_counter() - entered) * 1e3)
        enters.append((entered - began) * 1e3)
    return statistics.median(enters), statistics.median(leaves)


async def _fill(daemon: RunningDaemon, handle: str) -> None:
    """So many wait that nobody reads: they were asked to go on without."""
    async with grpc.aio.insecure_channel(f"unix:{daemon.socket}") as channel:
        stub = executions_pb2_grpc.ExecutionServiceStub(channel)
        goes_on = executions_pb2.ON_DISCONNECT_CONTINUE

        async def one(number: int) -> None:
            metadata = (("oblix-client", f"client-{number}"),)
            call = stub.Execute(request("Hi", handle, on_disconnect=goes_on), metadata=metadata)
            await anext(aiter(call))
            call.cancel()

        for start in range(0, WAITING, 100):
            await asyncio.gather(*(one(number) for number in range(start, start + 100)))


def many_streams() -> list[Line]:
    """The first token of a prompt while nobody else is there, and beside streams half of which came late."""
    with harness() as (daemon, server):
        server.default = lambda text: (
            Answer(STORY, tokens_per_second=TOKENS_A_SECOND) if text == "story" else Answer("One")
        )
        handle = hook(daemon, server.url, max_running=2 * STREAMS)
        stub = executions_pb2_grpc.ExecutionServiceStub(daemon.channel)
        with get_context("spawn").Pool(1) as readers:
            idle = statistics.median(_first_token_ms(stub, handle) for _ in range(PROBES))
            reading = readers.apply_async(_read_all, (str(daemon.socket), handle))
            server.wait_for_requests(PROBES + LATE, timeout_s=30)
            time.sleep(1)
            busy = statistics.median(_first_token_ms(stub, handle) for _ in range(PROBES))
            still = not reading.ready()
            wrong = reading.get(60)
    assert still, "the streams ended before the probes did"
    return [
        Line("first token, idle (median)", idle, "ms"),
        Line(f"beside {STREAMS} streams, {LATE} of them late, added", busy - idle, "ms", 5.0),
        Line("streams with a token lost or repeated", wrong, "", 0),
    ]


def _first_token_ms(stub: executions_pb2_grpc.ExecutionServiceStub, handle: str) -> float:
    began = time.perf_counter()
    call = stub.Execute(request("Hi", handle))
    next(event for event in call if event.HasField("delta"))
    took = (time.perf_counter() - began) * 1e3
    for _ in call:
        pass
    return took


def _read_all(socket: str, handle: str) -> int:
    """In a process of its own: how many of the streams did not read the story, word for word."""
    return asyncio.run(_read_streams(socket, handle))


async def _read_streams(socket: str, handle: str) -> int:
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        stub = executions_pb2_grpc.ExecutionServiceStub(channel)

        async def early(number: int) -> str:
            call = stub.Execute(request("story", handle, request_id=f"story {number}"))
            return await _text(event async for event in call)

        async def read_late(number: int) -> str:
            await asyncio.sleep(0.5 + number / LATE)
            call = stub.AttachExecution(executions_pb2.AttachExecutionRequest(request_id=f"story {number}"))
            return await _text(one.event async for one in call)

        streams = [early(number) for number in range(STREAMS - LATE)] + [
            read_late(number) for number in range(LATE)
        ]
        return sum(text != STORY for text in await asyncio.gather(*streams))


async def _text(events: AsyncIterator[executions_pb2.ExecuteResponse]) -> str:
    return "".join([event.delta.text async for event in events])


class Pours(InStream):
    """Sends a long answer, and stays silent."""

    after = 1

    def strike(self, wire: Wire, error: bytes) -> bool:
        piece = b'{"message":{"role":"assistant","content":"' + b"x" * (1 << 18) + b'"},"done":false}\n'
        for _ in range(LONG_BYTES >> 18):
            wire.chunk(piece)
        wire.wait(None)
        return False


def long_answer() -> list[Line]:
    """From the attach to the last byte that is there."""
    with harness() as (daemon, server):
        server.default = lambda _: Answer("One two", fault=Pours())
        handle = hook(daemon, server.url)
        stub = executions_pb2_grpc.ExecutionServiceStub(daemon.channel)
        holder = stub.Execute(request("long", handle, request_id="long"))
        size = _read_bytes(holder, LONG_BYTES)
        times = [_attach_ms(stub, size) for _ in range(20)]
        holder.cancel()
    return [
        Line(f"attach to {size / 2**20:.0f} MiB, until live (median)", statistics.median(times), "ms", 100)
    ]


def _attach_ms(stub: executions_pb2_grpc.ExecutionServiceStub, size: int) -> float:
    began = time.perf_counter()
    call = stub.AttachExecution(executions_pb2.AttachExecutionRequest(request_id="long"))
    _read_bytes((one.event for one in call), size)
    took = (time.perf_counter() - began) * 1e3
    call.cancel()
    return took


def _read_bytes(events: Iterator[executions_pb2.ExecuteResponse], least: int) -> int:
    size = 0
    while size < least:
        size += len(next(events).delta.text)
    return size


def many_open() -> list[Line]:
    """The daemon's own memory with many streams open, each in the middle of its answer."""
    with ExitStack() as stack:
        daemon, _ = stack.enter_context(harness())
        servers = [stack.enter_context(OllamaServer(["llama2"])) for _ in range(OPEN // A_SERVER)]
        handles = [hook(daemon, server.url, max_running=OPEN) for server in servers]
        for server in servers:
            server.default = lambda _: Answer("One two", fault=Stall(1))
        each = asyncio.run(_memory_of_each(daemon, handles))
    return [Line(f"memory of an open execution, {OPEN:,} of them", each, "kB", 100)]


async def _memory_of_each(daemon: RunningDaemon, handles: list[str]) -> float:
    async with grpc.aio.insecure_channel(f"unix:{daemon.socket}") as channel:
        stub = executions_pb2_grpc.ExecutionServiceStub(channel)

        async def open_one(number: int) -> grpc.aio.Call:
            call = stub.Execute(request("Hi", handles[number % len(handles)]))
            async for event in call:
                if event.HasField("delta"):
                    return call
            raise AssertionError("it ended")

        warm = await asyncio.gather(*(open_one(number) for number in range(len(handles))))
        before = anonymous_mb(daemon.process.pid)
        calls = await asyncio.gather(*(open_one(number) for number in range(OPEN - len(handles))))
        each = (anonymous_mb(daemon.process.pid) - before) * 1e3 / len(calls)
        for call in (*warm, *calls):
            call.cancel()
    return each


if __name__ == "__main__":
    raise SystemExit(main())
