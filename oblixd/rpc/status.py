"""How an error of ours becomes a gRPC status: google.rpc.Status with one ErrorInfo (AIP-193)."""

from __future__ import annotations

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from oblixd import errors

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
