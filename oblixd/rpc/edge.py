"""What every call passes through, whatever it asks for.

Generated code registers plain handlers; here each is wrapped once, so that
request bytes that can't be read, callers that may not call, and errors of ours
all become the same kind of status, and no servicer has to think of it.

How an error of ours becomes a gRPC status: google.rpc.Status with one ErrorInfo (AIP-193).
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NoReturn, cast

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from oblixd import errors
from oblixd.access import ClientLimits, Token, UnauthorizedError
from oblixd.client_memory import ClientMemory
from oblixd.errors import PermissionDeniedError, from_exception
from oblixd.execution import ClientInfo
from oblixd.failpoints import reach
from oblixd.rpc.admission import Admission, Call
from oblixd.rpc.guard import CALLER_TOKEN, PAGES

DOMAIN = "oblix"
MAX_MESSAGE = 1000
MAX_VALUE = 200
"""Characters. gRPC replaces a status whose details outgrow its header limit; ours stay under 4 KiB."""

_CODES: dict[type[errors.OblixdError], grpc.StatusCode] = {
    UnauthorizedError: grpc.StatusCode.UNAUTHENTICATED,
    errors.InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    errors.FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.AbortedError: grpc.StatusCode.ABORTED,
    errors.ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.UnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.DataLossError: grpc.StatusCode.DATA_LOSS,
    errors.InternalError: grpc.StatusCode.INTERNAL,
}

Trailers = tuple[tuple[str, bytes], ...]


def to_status(error: errors.OblixdError) -> tuple[grpc.StatusCode, str, Trailers]:
    """Return the code, the message for a person, and the trailing metadata that carries the details."""
    code = next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)
    message = _shorten(error.message, MAX_MESSAGE)
    info = ErrorInfo(reason=error.reason, domain=DOMAIN)
    for key, value in error.metadata.items():
        info.metadata[key] = _shorten(value, MAX_VALUE)
    detail = AnyMessage()
    detail.Pack(info)
    status = Status(code=code.value[0], message=message, details=[detail])
    return code, message, (("grpc-status-details-bin", status.SerializeToString()),)


def _shorten(text: str, limit: int) -> str:
    clean = text.encode("utf-8", "replace").decode()
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any
"""A grpc.RpcMethodHandler. Its published types know only the synchronous server's handlers."""
StreamCall = Callable[[object, Context], AsyncIterator[object]]
UnaryCall = Callable[[object, Context], Awaitable[bytes]]
OnCall = Callable[[str], None]
"""Hears who calls: the caller's name for itself, empty where it gave none."""

CLIENT_KEY = "oblix-client"
PROGRAM_KEY = "oblix-program"
TRACE_KEY = "traceparent"
MAX_CLIENT = 128
SHARED_BYTES, MOST_SHARED = 64 << 10, 16
"""Responses of at most this size are remembered as they were written, and so many of each method."""


_IS_LAST: Mapping[str, Callable[[Any], bool]] = {"Execute": lambda event: event.HasField("completed")}
"""The streams that end well with one response only, and how it is known."""


class Writer:
    """Writes responses for the wire: one that many calls are sent, as watchers are, only once."""

    def __init__(self, write: Callable[[object], bytes]) -> None:
        self._write = write
        self._recent: OrderedDict[int, tuple[object, bytes]] = OrderedDict()

    def __call__(self, response: object) -> bytes:
        """Return the response's bytes."""
        known = self._recent.get(id(response))
        if known is not None:
            return known[1]
        data = self._write(response)
        if len(data) <= SHARED_BYTES:
            # The response is held, too, so that its id stays its own.
            self._recent[id(response)] = response, data
            if len(self._recent) > MOST_SHARED:
                self._recent.popitem(last=False)
        return data


class Edge:
    """Takes what generated code registers, wraps it, and passes it on to the real servers."""

    def __init__(
        self, servers: Sequence[grpc.aio.Server], on_call: OnCall, memory: ClientMemory, limits: ClientLimits
    ) -> None:
        self._servers = servers
        self._admission = Admission(memory, limits.check_size)
        self._on_call = on_call
        self._limits = limits
        self.services: list[str] = []
        """Full names of the services that were registered, each once."""

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Not needed: add_registered_method_handlers brings the same ones by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Wrap a service's handlers and register them. A service that is there already is a defect."""
        if service in self.services:
            raise ValueError(f"{service} is registered twice")
        self.services.append(service)
        wrapped = {name: self._wrap(name, handler) for name, handler in handlers.items()}
        for server in self._servers:
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))

    def _wrap(self, name: str, handler: Handler) -> Handler:
        # Each is served as one that takes a stream, which is the same on the wire: see `admission`.
        if handler.unary_unary:
            return grpc.stream_unary_rpc_method_handler(self._unary(name, handler), None, None)
        if is_last := _IS_LAST.get(name):
            return grpc.stream_unary_rpc_method_handler(self._ending(name, handler, is_last), None, None)
        return grpc.stream_stream_rpc_method_handler(self._stream(name, handler), None, None)

    def _unary(self, name: str, handler: Handler) -> UnaryCall:
        async def handle(_raw: object, context: Context) -> bytes:
            try:
                one = self._let_in(name, handler, context)
                # What is returned leaves in one batch with the status: only this tells when it is gone.
                # Its published type is a class that no function fits.
                context.add_done_callback(cast("Any", lambda _context: _end(one)))
                response = await handler.unary_unary(await one.request(), context)
                one.worked()
                one.done()
                data: bytes = handler.response_serializer(response)
                one.leaves(data)
                reach("reply.before")
            except Exception as error:  # noqa: BLE001 - every failure becomes a status with a reason
                await abort(context, error)
            return data

        return handle

    def _ending(self, name: str, handler: Handler, is_last: Callable[[Any], bool]) -> UnaryCall:
        """Serve a stream whose last response is known: it leaves in one batch with the status.

        On the wire it is a stream like any other: gRPC only takes what is returned for the last message.
        """

        async def handle(_raw: object, context: Context) -> bytes:
            responses: Any = None
            try:
                one = self._let_in(name, handler, context)
                context.add_done_callback(cast("Any", lambda _context: _end(one)))
                responses = handler.unary_stream(await one.request(), context)
                write = handler.response_serializer
                async with aclosing(responses):
                    last = await _send_all_but_last(responses, is_last, write, one, context)
            except grpc.aio.InternalError:
                # A write failed, most likely because the client is gone: gRPC knows what to make of it.
                raise
            except Exception as error:  # noqa: BLE001 - every failure becomes a status with a reason
                # gRPC keeps this frame with the call until Python collects cycles.
                responses = None
                await abort(context, error)
            return last

        return handle

    def _stream(self, name: str, handler: Handler) -> StreamCall:
        write = Writer(handler.response_serializer)

        async def handle(_raw: object, context: Context) -> AsyncIterator[object]:
            responses: Any = None
            try:
                with self._let_in(name, handler, context) as one:
                    # No name is given to the request here: what works on it says how long it is held.
                    if handler.stream_stream:
                        responses = handler.stream_stream(one.requests(), context)
                    else:
                        responses = handler.unary_stream(await one.request(), context)
                    async with aclosing(responses):
                        async for response in responses:
                            one.worked()
                            data = write(response)
                            size = one.leaves(data)
                            reach("reply.before")
                            yield data
                            reach("reply.after")
                            one.sent(size)
            except Exception as error:  # noqa: BLE001 - every failure becomes a status with a reason
                # gRPC keeps this frame with the call until Python collects cycles.
                responses = None
                await abort(context, error)

        return handle

    def _let_in(self, name: str, handler: Handler, context: Context) -> Call:
        """See who calls, before anything of the request is read."""
        metadata = _metadata_of(context)
        if not PAGES.isdisjoint(metadata):
            raise PermissionDeniedError("ORIGIN_REFUSED", "oblixd takes no calls from web pages.")
        token, client = CALLER_TOKEN.get(), _text(metadata, CLIENT_KEY)
        self._on_call(_client(token, client))
        self._limits.count_call(_limit_key(token, client))
        return self._admission.call(name, context.read, handler.request_deserializer)


async def _send_all_but_last(
    responses: AsyncIterator[Any],
    is_last: Callable[[Any], bool],
    write: Callable[[object], bytes],
    call: Call,
    context: Context,
) -> bytes:
    """Send a stream to its end, and return what is left to send: its last response."""
    last = b""
    async for response in responses:
        call.worked()
        data = write(response)
        size = call.leaves(data)
        reach("reply.before")
        if is_last(response):
            last = data
        else:
            await context.write(data)
            reach("reply.after")
            call.sent(size)
    if not last:
        raise RuntimeError("a stream ended well without its last response")
    return last


def _end(call: Call) -> None:
    reach("reply.after")
    call.end()


def client_of(context: Context) -> str:
    """Return the client's name from metadata `oblix-client`: for fairness, not for security.

    Over TCP the token's name stands before it, so that no token's clients pass for another's.
    """
    return _client(CALLER_TOKEN.get(), _text(_metadata_of(context), CLIENT_KEY))


def limit_key(context: Context) -> str:
    """Return whose limits a call counts for: its token's, or over the socket its client's."""
    return _limit_key(CALLER_TOKEN.get(), _text(_metadata_of(context), CLIENT_KEY))


def caller_of(context: Context) -> ClientInfo:
    """Return the same, and what it told in metadata: its program, and the span that it calls from."""
    metadata = _metadata_of(context)
    client = _client(CALLER_TOKEN.get(), _text(metadata, CLIENT_KEY))
    return ClientInfo(client, _text(metadata, PROGRAM_KEY), _text(metadata, TRACE_KEY))


def _client(token: Token | None, name: str) -> str:
    return f"{token.name}/{name}" if token else name


def _limit_key(token: Token | None, name: str) -> str:
    return f"token {token.name}" if token else name


def _metadata_of(context: Context) -> dict[str, str | bytes]:
    """Return the last value of each key. Python's gRPC makes the whole of it anew for each question."""
    return dict(context.invocation_metadata() or ())


def _text(metadata: Mapping[str, str | bytes], key: str) -> str:
    """Return the value of a key; empty where there is none that is a text."""
    value = metadata.get(key, "")
    return value[:MAX_CLIENT] if isinstance(value, str) else ""


async def abort(context: Context, error: Exception) -> NoReturn:
    """End a call with an error's status."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    told = from_exception(error)
    if told is not error:
        logger.error("a call failed", exc_info=error)
    code, message, trailers = to_status(told)
    told.forget_traceback()
    await context.abort(code, message, trailers)
    raise AssertionError("abort raises")
