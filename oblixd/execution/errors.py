"""How a model's failure reaches the client: a status, a reason code, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration
from oblix.v1 import executions_pb2

from oblixd.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    OblixdError,
    ResourceExhaustedError,
    UnavailableError,
    from_exception,
)
from oblixd.models import ModelError, ModelErrorKind

_STATUS: dict[ModelErrorKind, type[OblixdError]] = {
    ModelErrorKind.UNREACHABLE: UnavailableError,
    ModelErrorKind.NOT_PULLED: FailedPreconditionError,
    ModelErrorKind.UNAUTHENTICATED: FailedPreconditionError,
    ModelErrorKind.NO_CREDIT: FailedPreconditionError,
    ModelErrorKind.WRONG_PATH: FailedPreconditionError,
    ModelErrorKind.RATE_LIMITED: ResourceExhaustedError,
    ModelErrorKind.NO_MEMORY: ResourceExhaustedError,
    ModelErrorKind.QUEUE_FULL: ResourceExhaustedError,
    ModelErrorKind.OVERLOADED: UnavailableError,
    ModelErrorKind.CONTEXT_OVERFLOW: InvalidArgumentError,
    ModelErrorKind.REFUSED: InvalidArgumentError,
    ModelErrorKind.BROKEN_STREAM: UnavailableError,
    ModelErrorKind.EMPTY: UnavailableError,
    ModelErrorKind.STALLED: UnavailableError,
    ModelErrorKind.FAILED: UnavailableError,
}


def attempt(model: str, error: ModelError) -> executions_pb2.FailedAttempt:
    """Return a failure, as the report of a later success shows it."""
    return executions_pb2.FailedAttempt(model=model, reason=error.kind.value, detail=error.message)


def to_client(
    error: ModelError, attempts: Sequence[executions_pb2.FailedAttempt], **where: object
) -> OblixdError:
    """Return the error for the client: the last failure decides, all of them are told.

    `where` says what was kept: session_id, message_id, kept_bytes.
    """
    message = error.message
    # Of a model that was tried again the last failure is told.
    last = {failed.model: failed.detail for failed in attempts}
    if len(last) > 1:
        each = "; ".join(f"{model}: {detail}" for model, detail in last.items())
        message = f"None of {len(last)} models answered. {each}"
    elif len(attempts) > 1:
        message += f" It was tried {len(attempts)} times."
    if where.get("message_id"):
        message += f" Your message is kept in session {where['session_id']}."
    if where.get("left_out_reason"):
        message += (
            " It is left out of later prompts, so that the conversation can go on. Edit or delete it "
            "(edit_message, delete_messages), or ask again with include_excluded to send it all the same."
        )
    model = attempts[-1].model
    details = {**error.numbers, **({"way": error.way} if error.way else {}), **where}
    if error.retry_after_s is not None:
        details["retry_after_s"] = f"{error.retry_after_s:g}"
    return _STATUS[error.kind](error.kind.value, message, model=model, endpoint=error.endpoint, **details)


def defect(problem: Exception) -> OblixdError:
    """Return the error for what should never happen, or for what the system has used up."""
    return from_exception(problem)


def stopping(request_id: str = "") -> UnavailableError:
    """Return the error for a prompt that this daemon does not begin any more.

    `request_id`: of an execution that was taken and waited. No model has seen it and nothing of it is kept.
    """
    about = {"request_id": request_id} if request_id else {}
    message = "oblixd is stopping: send the prompt again in a moment."
    return UnavailableError("DAEMON_STOPPING", message, **about)


def interruption(**where: object) -> UnavailableError:
    """Return the error for those who wait for an answer that the daemon's end cut off."""
    message = "oblixd ended before the answer did."
    if where.get("kept_bytes"):
        message += f" The part that is kept is in session {where['session_id']}."
    message += " Send the prompt again, with a new request_id, to have it answered."
    return UnavailableError("EXECUTION_INTERRUPTED", message, **where)


def timeout_error(timeout: Duration, **where: object) -> DeadlineExceededError:
    """Return the error for an execution whose own time is over."""
    seconds = timeout.ToTimedelta().total_seconds()
    message = f"The prompt was not answered within its timeout of {seconds:g} s; the model was freed."
    if where.get("kept_bytes"):
        message += f" The part that had come is kept in session {where['session_id']}."
    message += " Ask again with a longer timeout, or with none."
    return DeadlineExceededError("EXECUTION_TIMED_OUT", message, timeout_seconds=f"{seconds:g}", **where)
