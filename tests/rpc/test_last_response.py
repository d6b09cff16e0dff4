"""Execute's last event leaves in one batch with the status: nothing of the stream changes by it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from oblix.v1 import executions_pb2, executions_pb2_grpc

from oblixd.access import ClientLimits, Limits
from oblixd.client_memory import ClientMemory
from oblixd.errors import UnavailableError
from oblixd.rpc.edge import Edge

Event = executions_pb2.ExecuteResponse
DELTA = Event(delta=executions_pb2.ExecutionDelta(text="a"))
COMPLETED = Event(completed=executions_pb2.ExecutionCompleted())


class Scripted(executions_pb2_grpc.ExecutionServiceServicer):
    """Answers each prompt with the same events, and then perhaps with an error."""

    def __init__(self, events: Iterable[Event], error: Exception | None) -> None:
        self._events, self._error = events, error

    async def Execute(  # noqa: N802 - the contract's name
        self, request: executions_pb2.ExecuteRequest, context: Any
    ) -> AsyncIterator[Event]:
        for event in self._events:
            yield event
        if self._error is not None:
            raise self._error


@asynccontextmanager
async def calling(
    home: Path, service: Scripted
) -> AsyncIterator[executions_pb2_grpc.ExecutionServiceAsyncStub]:
    server = grpc.aio.server()
    edge = Edge((server,), lambda _client: None, ClientMemory(), ClientLimits(Limits()))
    executions_pb2_grpc.add_ExecutionServiceServicer_to_server(service, cast("grpc.aio.Server", edge))
    server.add_insecure_port(f"unix:{home}/edge.sock")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"unix:{home}/edge.sock") as channel:
            yield cast("Any", executions_pb2_grpc.ExecutionServiceStub(channel))
    finally:
        await server.stop(None)


@pytest.mark.parametrize(
    ("events", "error", "code"),
    [
        ([DELTA, DELTA, COMPLETED], None, grpc.StatusCode.OK),
        ([COMPLETED], None, grpc.StatusCode.OK),
        ([DELTA], UnavailableError("MODEL_UNREACHABLE", "gone"), grpc.StatusCode.UNAVAILABLE),
        ([DELTA], None, grpc.StatusCode.INTERNAL),
        ([], None, grpc.StatusCode.INTERNAL),
    ],
    ids=["whole", "only the last", "failed", "broken off by a defect", "empty by a defect"],
)
async def test_a_stream_brings_its_events_and_its_status(
    home: Path, events: list[Event], error: Exception | None, code: grpc.StatusCode
) -> None:
    seen = []
    async with calling(home, Scripted(events, error)) as stub:
        call = stub.Execute(executions_pb2.ExecuteRequest())
        try:
            async for event in call:
                seen.append(event)  # noqa: PERF401 - what came before an error counts, too
        except grpc.RpcError:
            pass
        assert await call.code() is code
    assert seen == events
