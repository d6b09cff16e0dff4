"""What every call passes through, whatever it asks for.

Generated code registers plain handlers; here each is wrapped once, so that
request bytes that can't be read, callers that may not call, and errors of ours
all become the same kind of status, and no servicer has to think of it.

How an error of ours becomes a gRPC status: google.rpc.Status with one ErrorInfo (AIP-193).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from oblixd import errors
from oblixd.errors import InternalError, InvalidArgumentError, OblixdError, PermissionDeniedError
from oblixd.execution import ClientInfo

DOMAIN = "oblix"
MAX_MESSAGE = 1000
MAX_VALUE = 200
"""Characters. gRPC replaces a status whose details outgrow its header limit; ours stay under 4 KiB."""

_CODES: dict[type[errors.OblixdError], grpc.StatusCode] = {
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
    """The code, the message for a person, and the trailing metadata that carries the details."""
    code = next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)
    message = _cut(error.message, MAX_MESSAGE)
    info = ErrorInfo(reason=error.reason, domain=DOMAIN)
    for key, value in error.metadata.items():
        info.metadata[key] = _cut(value, MAX_VALUE)
    detail = AnyMessage()
    detail.Pack(info)
    status = Status(code=code.value[0], message=message, details=[detail])
    return code, message, (("grpc-status-details-bin", status.SerializeToString()),)


def _cut(text: str, limit: int) -> str:
    clean = text.encode("utf-8", "replace").decode()
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any
"""A grpc.RpcMethodHandler. Its published types know only the synchronous server's handlers."""
OnCall = Callable[[str], None]
"""Hears who calls: the caller's name for itself, empty where it gave none."""

CLIENT_KEY = "oblix-client"
PROGRAM_KEY = "oblix-program"
MAX_CLIENT = 128


class Malformed:
    """Stands for a request whose bytes are not the message they should be."""


class Edge:
    """Takes what generated code registers, wraps it, and passes it on to the real server."""

    def __init__(self, server: grpc.aio.Server, on_call: OnCall) -> None:
        self._server = server
        self._on_call = on_call
        self.services: list[str] = []
        """Full names of the services that were registered, each once."""

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Not needed: add_registered_method_handlers brings the same ones by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Wrap a service's handlers and register them. A service that is there already is a defect."""
        if service in self.services:
            raise ValueError(f"{service} is registered twice")
        self.services.append(service)
        wrapped = {name: self._wrap(handler) for name, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))

    def _wrap(self, handler: Handler) -> Handler:
        read = _lenient(handler.request_deserializer)
        write = handler.response_serializer
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(self._unary(handler.unary_unary), read, write)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(self._stream(handler.unary_stream), read, write)
        return grpc.stream_stream_rpc_method_handler(self._stream(handler.stream_stream), read, write)

    def _unary(
        self, call: Callable[[Any, Context], Awaitable[Any]]
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        async def handle(request: object, context: Context) -> object:
            try:
                return await call(self._admit(request, context), context)
            except Exception as error:  # noqa: BLE001 - every failure becomes a status with a reason
                await _abort(context, error)

        return handle

    def _stream(
        self, call: Callable[[Any, Context], AsyncIterator[Any]]
    ) -> Callable[[Any, Context], AsyncIterator[Any]]:
        async def handle(request: object, context: Context) -> AsyncIterator[object]:
            try:
                async for response in call(self._admit(request, context), context):
                    yield response
            except Exception as error:  # noqa: BLE001 - every failure becomes a status with a reason
                await _abort(context, error)

        return handle

    def _admit(self, request: object, context: Context) -> object:
        metadata = dict(context.invocation_metadata() or ())
        if "origin" in metadata:
            raise PermissionDeniedError("ORIGIN_REFUSED", "oblixd takes no calls from web pages.")
        self._on_call(client_of(context))
        if isinstance(request, Malformed):
            raise malformed_error()
        return request


def client_of(context: Context) -> str:
    """The name that the caller gave itself in metadata `oblix-client`: for fairness, not for security."""
    return _metadata_value(context, CLIENT_KEY)


def caller_of(context: Context) -> ClientInfo:
    """The same, and its program as it told it in metadata `oblix-program`."""
    return ClientInfo(_metadata_value(context, CLIENT_KEY), _metadata_value(context, PROGRAM_KEY))


def _metadata_value(context: Context, key: str) -> str:
    value = dict(context.invocation_metadata() or ()).get(key, "")
    return value[:MAX_CLIENT] if isinstance(value, str) else ""


def malformed_error() -> InvalidArgumentError:
    """The error for request bytes that can't be read."""
    return InvalidArgumentError(
        "MALFORMED_REQUEST",
        "The request's bytes are not the message that this method takes: "
        "check that the stubs are those of oblix.v1 and that every text is valid UTF-8.",
    )


def _lenient(read: Callable[[bytes], object]) -> Callable[[bytes], object]:
    def lenient(data: bytes) -> object:
        try:
            return read(data)
        except DecodeError:
            return Malformed()

    return lenient


async def _abort(context: Context, error: Exception) -> NoReturn:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if not isinstance(error, OblixdError):
        logger.error("a call failed", exc_info=error)
        error = InternalError("INTERNAL", f"A defect in oblixd: {error!r}. The log has the details.")
    code, message, trailers = to_status(error)
    await context.abort(code, message, trailers)
    raise AssertionError("abort raises")
