"""Reflection in both versions: `grpc.reflection.v1`, which tools ask for today, and `v1alpha`.

The library has only v1alpha. The messages of both are the same but for the package's name
(https://github.com/grpc/grpc-proto/blob/master/grpc/reflection/v1/reflection.proto), so that one
servicer answers both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from functools import cache, partial
from typing import TYPE_CHECKING

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor

if TYPE_CHECKING:
    from grpc_reflection.v1alpha import reflection, reflection_pb2

ALPHA = "grpc.reflection.v1alpha.ServerReflection"
V1 = "grpc.reflection.v1.ServerReflection"
_FILE = "grpc/reflection/v1/reflection.proto"
_ALPHA_PACKAGE, _V1_PACKAGE = "grpc.reflection.v1alpha", "grpc.reflection.v1"


def add_reflection(names: Sequence[str], servers: Sequence[grpc.aio.Server]) -> None:
    """Have servers describe their services of these names, and reflection itself."""
    method = grpc.stream_stream_rpc_method_handler(
        _Reflection([*names, ALPHA, V1]).answer,
        request_deserializer=_parse,
        response_serializer=_serialize,
    )
    handlers = [
        grpc.method_handlers_generic_handler(service, {"ServerReflectionInfo": method})
        for service in (ALPHA, V1)
    ]
    for server in servers:
        server.add_generic_rpc_handlers(handlers)


class _Reflection:
    """Answers by the library, which is imported when somebody asks: the daemon serves before."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    async def answer(
        self,
        requests: AsyncIterator[reflection_pb2.ServerReflectionRequest],
        context: grpc.aio.ServicerContext[
            reflection_pb2.ServerReflectionRequest, reflection_pb2.ServerReflectionResponse
        ],
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        """Answer each request of a stream."""
        async with aclosing(self._servicer().ServerReflectionInfo(requests, context)) as responses:
            async for response in responses:
                yield response

    @cache  # noqa: B019 - there is one, for the daemon's life
    def _servicer(self) -> reflection.aio.ReflectionServicer:
        from grpc_reflection.v1alpha import reflection  # noqa: PLC0415 - as said above

        return reflection.aio.ReflectionServicer(self._names, _Pool())


def _parse(raw: bytes) -> reflection_pb2.ServerReflectionRequest:
    from grpc_reflection.v1alpha import reflection_pb2  # noqa: PLC0415 - as said above

    return reflection_pb2.ServerReflectionRequest.FromString(raw)


def _serialize(response: reflection_pb2.ServerReflectionResponse) -> bytes:
    raw: bytes = response.SerializeToString()
    return raw


class _Pool:
    """All that this process knows of descriptors, and the file of v1.

    That file is in a pool of its own: a program that has it from elsewhere, too, would not start.
    """

    def __init__(self) -> None:
        self._default = descriptor_pool.Default()
        self._v1 = descriptor_pool.DescriptorPool()
        self._v1.AddSerializedFile(_v1_file().SerializeToString())

    def __getattr__(self, name: str) -> object:
        return getattr(self._default, name)

    def FindFileByName(self, name: str) -> FileDescriptor:
        """Return a file, or raise KeyError."""
        with suppress(KeyError):
            return self._default.FindFileByName(name)
        return self._v1.FindFileByName(name)

    def FindFileContainingSymbol(self, name: str) -> FileDescriptor:
        """Return the file of a service, a message, or a method or field of one. Raises KeyError."""
        for pool in (self._default, self._v1):
            for find in (pool.FindFileContainingSymbol, partial(_file_of_member, pool)):
                with suppress(KeyError):
                    return find(name)
        raise KeyError(name)


def _file_of_member(pool: descriptor_pool.DescriptorPool, name: str) -> FileDescriptor:
    """Return the file of a method or field, which Python's pools do not find by its name. Raises KeyError."""
    holder, _, member = name.rpartition(".")
    with suppress(KeyError):
        service = pool.FindServiceByName(holder)
        if member in service.methods_by_name:
            return service.file
    message = pool.FindMessageTypeByName(holder)
    if member not in message.fields_by_name:
        raise KeyError(name)
    return message.file


def _v1_file() -> descriptor_pb2.FileDescriptorProto:
    """Return the file of v1: that of v1alpha with another package."""
    from grpc_reflection.v1alpha import reflection_pb2  # noqa: PLC0415 - as said above

    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name, file.package = _FILE, _V1_PACKAGE
    # Each reference is a whole name, to another message of the file.
    for message in file.message_type:
        for field in (field for field in message.field if field.type_name):
            field.type_name = field.type_name.replace(f".{_ALPHA_PACKAGE}.", f".{_V1_PACKAGE}.")
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(_ALPHA_PACKAGE, _V1_PACKAGE)
        method.output_type = method.output_type.replace(_ALPHA_PACKAGE, _V1_PACKAGE)
    return file
