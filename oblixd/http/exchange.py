"""Run one prompt for one HTTP request: streamed or whole, kept alive, stopped when the client hangs up."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from aiohttp import web
from oblix.v1 import executions_pb2

from oblixd.errors import AbortedError, UnavailableError
from oblixd.execution import ClientInfo
from oblixd.http.body import compact
from oblixd.http.failures import failure_of
from oblixd.http.prompt import Dialect, Prompt, Reply

HEAD_AFTER_S = 1.0
"""A stream's head leaves after so long, before the answer begins: until then a failure is a proper status."""
KEEP_ALIVE_S = 2.0
"""A sign of life goes out after so long without another byte. Clients give up after 5 s at the least."""

_NO_BUFFERING = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

Run = Callable[
    [executions_pb2.ExecuteRequest, ClientInfo], AsyncGenerator[executions_pb2.ExecuteResponse, None]
]


@dataclass(slots=True)
class Exchange:
    """A prompt and the request that it came with."""

    http: web.Request
    dialect: Dialect
    prompt: Prompt
    caller: ClientInfo
    on_answered: Callable[[executions_pb2.ExecutionCompleted], Awaitable[None]]
    """Hears of the answer before its end is told."""
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with the answer."""


class JsonResponse(web.Response):
    """A body that is sent at once, and dropped then.

    aiohttp keeps the newest request and response of a connection until its next request, which may be
    a minute away.
    """

    def __init__(self, value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """`value`: what the body says, or the body itself."""
        body = value if isinstance(value, bytes) else compact(value).encode()
        super().__init__(body=body, status=status, headers=headers, content_type="application/json")

    async def write_eof(self, data: bytes = b"") -> None:
        """See `web.StreamResponse.write_eof`."""
        await super().write_eof(data)
        self.body = None


class Streams:
    """The streams that are open. One timer keeps all of them alive."""

    def __init__(self, run: Run, model_of: Callable[[str], str]) -> None:
        """`model_of` tells which model answers an execution, by its request id."""
        self._run = run
        self._model_of = model_of
        self._open: set[_Stream] = set()
        self._timer: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        """Return how many streams are open."""
        return len(self._open)

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """Answer a request. Raises OblixdError where it fails before the answer's head was sent."""
        request = exchange.prompt.request
        request.request_id = request.request_id or str(uuid.uuid4())
        exchange.headers["x-oblix-request-id"] = request.request_id
        exchange.headers.update(left_out_header(exchange.prompt.ignored_fields))
        reply = exchange.dialect.reply(exchange.prompt, request.request_id)
        events = self._run(request, exchange.caller)
        if exchange.prompt.stream:
            return await self._stream(exchange, reply, events)
        return await self._whole_response(exchange, reply, events)

    async def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)

    async def _whole_response(
        self, exchange: Exchange, reply: Reply, events: AsyncGenerator[executions_pb2.ExecuteResponse, None]
    ) -> web.Response:
        async with aclosing(events):
            async for event in events:
                if event.HasField("started"):
                    exchange.headers.update(_route_headers(event.started))
                elif event.HasField("completed"):
                    _check_answered(event.completed)
                    await exchange.on_answered(event.completed)
                    exchange.headers["x-oblix-model"] = event.completed.message.model
                    return JsonResponse(reply.as_object(event.completed), headers=exchange.headers)
        raise AssertionError("an execution ends with completed or raises")

    async def _stream(
        self, exchange: Exchange, reply: Reply, events: AsyncGenerator[executions_pb2.ExecuteResponse, None]
    ) -> web.StreamResponse:
        stream = _Stream(exchange, reply, self._model_of)
        self._open.add(stream)
        if self._timer is None:
            self._timer = asyncio.create_task(self._keep_alive(), name="http keep-alives")
        try:
            async with aclosing(events):
                async for event in events:
                    await stream.write(event)
        except Exception as error:
            if not stream.began:
                raise
            await stream.fail(error)
        finally:
            self._open.discard(stream)
        return stream.response

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(HEAD_AFTER_S / 2)
            now_s = loop.time()
            await asyncio.gather(
                *(stream.keep_alive(now_s) for stream in list(self._open)), return_exceptions=True
            )


class _Stream:
    """One answer on its way."""

    def __init__(self, exchange: Exchange, reply: Reply, model_of: Callable[[str], str]) -> None:
        self._exchange = exchange
        self._reply = reply
        self._model_of = model_of
        self._loop = asyncio.get_running_loop()
        self._wrote_s = self._loop.time()
        self._writing = False
        self._model_is_named = False
        self.response = web.StreamResponse(headers={"Content-Type": reply.content_type, **_NO_BUFFERING})

    @property
    def began(self) -> bool:
        """Tell whether the head was sent: an error can then only be told inside the stream."""
        return self.response.prepared

    async def write(self, event: executions_pb2.ExecuteResponse) -> None:
        """Write what an event is in this API."""
        kind = event.WhichOneof("event")
        if kind == "delta":
            await self._send(self._begin() + self._reply.delta(event.delta))
        elif kind == "started":
            self._exchange.headers.update(_route_headers(event.started))
        elif kind == "rerouted":
            raise _restart_error(event.rerouted)
        elif kind == "completed":
            _check_answered(event.completed)
            await self._exchange.on_answered(event.completed)
            await self._send(self._begin() + self._reply.complete(event.completed))
            await self.response.write_eof()

    async def fail(self, error: Exception) -> None:
        """End the stream with an error in the API's form."""
        await self._send(self._reply.fail(failure_of(error)))
        await self.response.write_eof()

    async def keep_alive(self, now_s: float) -> None:
        """Send a sign of life where nothing was sent for long, the head first."""
        due_s = KEEP_ALIVE_S if self.began else HEAD_AFTER_S
        if now_s - self._wrote_s >= due_s and not self._writing:
            await self._send(self._reply.keep_alive)

    def _begin(self) -> bytes:
        """Name the model that answers, once it is certain: with the first content."""
        if self._model_is_named:
            return b""
        self._model_is_named = True
        model = self._model_of(self._exchange.prompt.request.request_id)
        self._exchange.headers["x-oblix-model"] = model
        return self._reply.begin(model)

    async def _send(self, data: bytes) -> None:
        self._writing = True
        try:
            if not self.began:
                self.response.headers.update(self._exchange.headers)
                await self.response.prepare(self._exchange.http)
            if data:
                await self.response.write(data)
        finally:
            self._writing = False
            self._wrote_s = self._loop.time()


def left_out_header(names: Iterable[str]) -> dict[str, str]:
    """Return the header that names what of a request is left out; none where nothing is."""
    names = list(dict.fromkeys(names))
    return {"x-oblix-left-out": ", ".join(names)[:1000]} if names else {}


def _check_answered(completion: executions_pb2.ExecutionCompleted) -> None:
    if completion.finish_reason == executions_pb2.FINISH_REASON_CANCELLED:
        message = "The execution was cancelled by somebody else: send the request again to have it answered."
        raise AbortedError("EXECUTION_CANCELLED", message)


def _restart_error(event: executions_pb2.ExecutionRerouted) -> UnavailableError:
    """Make the error for an answer that begins anew: these APIs have no way to take back what was sent."""
    message = f"{event.from_model} broke off: {event.detail} Send the request again."
    return UnavailableError("MODEL_STREAM_BROKEN", message)


def _route_headers(start: executions_pb2.ExecutionStarted) -> dict[str, str]:
    decision = start.decision
    headers = {"x-oblix-model": decision.model, "x-oblix-rule": decision.rule}
    headers["x-oblix-policy"] = decision.policy
    if start.session_id:
        headers["x-oblix-session"] = start.session_id
    return headers
