"""What every call passes through, whatever it asks for.

Generated code registers plain handlers; here each is wrapped once, so that
request bytes that can't be read, callers that may not call, and errors of ours
all become the same kind of status, and no servicer has to think of it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from oblixd.errors import InternalError, InvalidArgumentError, OblixdError, PermissionDeniedError
from oblixd.execution.caller import Caller
from oblixd.rpc.status import to_status

_log = logging.getLogger(__name__)

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
        wrapped = {name: self._wrapped(handler) for name, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))

    def _wrapped(self, handler: Handler) -> Handler:
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
                return await call(self._admitted(request, context), context)
            except Exception as error:  # noqa: BLE001 - every failure becomes a status with a reason
                await _abort(context, error)

        return handle

    def _stream(
        self, call: Callable[[Any, Context], AsyncIterator[Any]]
    ) -> Callable[[Any, Context], AsyncIterator[Any]]:
        async def handle(request: object, context: Context) -> AsyncIterator[object]:
            try:
                async for response in call(self._admitted(request, context), context):
                    yield response
            except Exception as error:  # noqa: BLE001 - every failure becomes a status with a reason
                await _abort(context, error)

        return handle

    def _admitted(self, request: object, context: Context) -> object:
        metadata = dict(context.invocation_metadata() or ())
        if "origin" in metadata:
            raise PermissionDeniedError("ORIGIN_REFUSED", "oblixd takes no calls from web pages.")
        self._on_call(client_of(context))
        if isinstance(request, Malformed):
            raise malformed()
        return request


def client_of(context: Context) -> str:
    """The name that the caller gave itself in metadata `oblix-client`: for fairness, not for security."""
    return _told(context, CLIENT_KEY)


def caller_of(context: Context) -> Caller:
    """The same, and its program as it told it in metadata `oblix-program`."""
    return Caller(_told(context, CLIENT_KEY), _told(context, PROGRAM_KEY))


def _told(context: Context, key: str) -> str:
    value = dict(context.invocation_metadata() or ()).get(key, "")
    return value[:MAX_CLIENT] if isinstance(value, str) else ""


def malformed() -> InvalidArgumentError:
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
        _log.error("a call failed", exc_info=error)
        error = InternalError("INTERNAL", f"A defect in oblixd: {error!r}. The log has the details.")
    code, message, trailers = to_status(error)
    await context.abort(code, message, trailers)
    raise AssertionError("abort raises")
