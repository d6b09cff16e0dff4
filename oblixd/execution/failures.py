"""How a model's failure reaches the client: a status, a reason code, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from oblix.v1 import executions_pb2 as pb

from oblixd.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    OblixdError,
    ResourceExhaustedError,
    UnavailableError,
)
from oblixd.models.base import ModelError, ModelErrorKind

_STATUS: dict[ModelErrorKind, type[OblixdError]] = {
    ModelErrorKind.UNREACHABLE: UnavailableError,
    ModelErrorKind.NOT_PULLED: FailedPreconditionError,
    ModelErrorKind.UNAUTHENTICATED: FailedPreconditionError,
    ModelErrorKind.RATE_LIMITED: ResourceExhaustedError,
    ModelErrorKind.OVERLOADED: UnavailableError,
    ModelErrorKind.CONTEXT_OVERFLOW: InvalidArgumentError,
    ModelErrorKind.REFUSED: InvalidArgumentError,
    ModelErrorKind.BROKEN_STREAM: UnavailableError,
    ModelErrorKind.STALLED: UnavailableError,
    ModelErrorKind.FAILED: UnavailableError,
}


def attempt(model: str, error: ModelError) -> pb.FailedAttempt:
    """A failure, as the report of a later success shows it."""
    return pb.FailedAttempt(model=model, reason=error.kind.value, detail=error.message)


def to_client(error: ModelError, attempts: Sequence[pb.FailedAttempt], **where: object) -> OblixdError:
    """The error for the client: the last failure decides, all of them are told.

    `where` says what was kept: session_id, message_id, kept_bytes.
    """
    message = error.message
    if len(attempts) > 1:
        told = "; ".join(f"{failed.model}: {failed.detail}" for failed in attempts)
        message = f"None of {len(attempts)} models answered. {told}"
    if where.get("message_id"):
        message += f" Your message is kept in session {where['session_id']}."
    model = attempts[-1].model
    return _STATUS[error.kind](error.kind.value, message, model=model, endpoint=error.endpoint, **where)
