"""gRPC statuses as our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from oblix import errors
from oblix._launcher.process import remedy

CLASSES: dict[grpc.StatusCode, type[errors.OblixError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: errors.NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExistsError,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDeniedError,
    grpc.StatusCode.UNAUTHENTICATED: errors.UnauthenticatedError,
    grpc.StatusCode.FAILED_PRECONDITION: errors.FailedPreconditionError,
    grpc.StatusCode.ABORTED: errors.AbortedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ResourceExhaustedError,
    grpc.StatusCode.UNAVAILABLE: errors.UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceededError,
    grpc.StatusCode.CANCELLED: errors.CallCancelledError,
    grpc.StatusCode.UNIMPLEMENTED: errors.UnimplementedError,
    grpc.StatusCode.DATA_LOSS: errors.DataLossError,
    grpc.StatusCode.INTERNAL: errors.InternalError,
}

DOMAIN = "oblix"
UNREACHABLE = "DAEMON_UNREACHABLE"
"""No connection was made: the call was certainly not sent."""
SILENT = "DAEMON_SILENT"
"""There is one, and it let the time pass."""
LOST = "CONNECTION_LOST"
"""The connection ended during the call: it may or may not have been carried out."""

NOT_DONE = {UNREACHABLE, "DAEMON_STOPPING", "STORE_CLOSED"}
"""Reasons after which the same call may go to the next daemon, whatever it does."""

DIRECT = "direct"
"""How a server was reached that could not be: the configuration names no proxy and no certificates."""

# What to make of a status that gRPC itself gave.
_EXPLAINED = {
    grpc.StatusCode.UNIMPLEMENTED: "oblixd does not know this call: it is older than this client. "
    "`oblix restart` starts the one that is installed ({}).",
}

# What gRPC says when it could not connect. It has no code of its own for that.
_NOT_CONNECTED = ("failed to connect to all addresses", "DNS resolution failed")

# What gRPC says of a call that was cancelled in this process.
_CANCELLED_HERE = ("Locally cancelled", "Channel closed")

# What gRPC says of a message over its limit, whichever side received it.
_TOO_LARGE = "message larger than max"


@contextmanager
def our_errors(pid: int = 0) -> Iterator[None]:
    """Raise a failed call as an OblixError. `pid`: whom to name where it does not answer; 0: not known."""
    try:
        yield
    except grpc.RpcError as error:
        if not isinstance(error, grpc.Call):
            raise
        raise to_error(error, pid) from error


def to_error(call: grpc.Call, pid: int = 0) -> errors.OblixError:
    """Return the error of a failed call, with the daemon's reason and metadata where it gave them."""
    reason, metadata = _info(call)
    details = call.details() or call.code().name
    if call.code() is grpc.StatusCode.UNAVAILABLE and not reason:
        return _disconnect_error(details)
    if call.code() is grpc.StatusCode.CANCELLED and not details.startswith(_CANCELLED_HERE):
        # A daemon that ends lets go of calls that were not over in time, and gRPC calls that cancelled.
        return _disconnect_error(details)
    if call.code() is grpc.StatusCode.DEADLINE_EXCEEDED and not reason:
        return _silent(pid, details)
    if _TOO_LARGE in details and not reason:
        return _too_large(details)
    message = details if reason else _EXPLAINED.get(call.code(), "{}").format(details)
    if metadata.get("way") == DIRECT:
        from oblix._convert.environment import network_hint  # noqa: PLC0415 - only failures need it

        message += network_hint()
    return CLASSES.get(call.code(), errors.OblixError)(message, reason=reason, metadata=metadata)


def _disconnect_error(details: str) -> errors.UnavailableError:
    if details.startswith(_NOT_CONNECTED):
        return errors.UnavailableError(f"oblixd can't be reached: {details}.", reason=UNREACHABLE)
    message = f"The connection to oblixd was lost; whether the call was carried out is not known ({details})."
    return errors.UnavailableError(message, reason=LOST)


def _too_large(details: str) -> errors.ResourceExhaustedError:
    message = f"The request, or its answer, is too large for one message ({details}): send or ask for less."
    return errors.ResourceExhaustedError(message, reason="MESSAGE_TOO_LARGE")


def _silent(pid: int, details: str) -> errors.DeadlineExceededError:
    if not pid:
        message = f"oblixd does not answer: it may be stopped, overloaded, or not there ({details})."
        return errors.DeadlineExceededError(message, reason=SILENT)
    message = f"oblixd (process {pid}) does not answer. {remedy(pid)}"
    return errors.DeadlineExceededError(message, reason=SILENT, metadata={"pid": f"{pid}"})


def _info(call: grpc.Call) -> tuple[str, dict[str, str]]:
    from google.rpc import error_details_pb2, status_pb2  # noqa: PLC0415 - only failures need them

    status = status_pb2.Status()
    info = error_details_pb2.ErrorInfo()
    for key, value in call.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status.ParseFromString(value)
    for detail in status.details:
        if detail.Unpack(info) and info.domain == DOMAIN:
            return info.reason, dict(info.metadata)
    return "", {}
