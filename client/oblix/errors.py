"""What can go wrong.

    OblixError                     the root: catch this one to catch all
    ├── InvalidArgumentError       the call is wrong whatever the state
    ├── NotFoundError              well-formed, but there is no such thing
    ├── AlreadyExistsError         it would be made twice
    ├── PermissionDeniedError      this caller may not do it
    ├── UnauthenticatedError       the daemon wants a token
    ├── FailedPreconditionError    something else must happen first
    │   └── AgentRefusedError      an agent of this client said no
    ├── AbortedError               somebody else was faster: read again and retry
    ├── ResourceExhaustedError     a limit is reached, or the disk is full
    ├── UnavailableError           a model or the daemon can't be reached just now
    │   └── DaemonStartError       no daemon runs, and none could be started
    ├── DeadlineExceededError      the time that was given is over
    ├── CallCancelledError         the daemon ended the call
    ├── UnimplementedError         the daemon is older than this client
    ├── DataLossError              what is on disk is damaged
    ├── InvalidAnswerError         the model's answer is not of the form that was asked for
    └── InternalError              a defect of ours

Each class is one gRPC status, so every language sees the same errors.
"""

from __future__ import annotations

from collections.abc import Mapping


class OblixError(Exception):
    """An error with a sentence for a person and a reason for a program."""

    def __init__(self, message: str, *, reason: str = "", metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        """What is wrong and what to do next."""
        self.reason = reason
        """UPPER_SNAKE and stable, as `SESSION_NOT_FOUND`. Empty where gRPC itself failed the call."""
        self.metadata = dict(metadata or {})
        """The values in the message, by name. Of an invalid argument: `field`, `limit` and `given`."""


class InvalidArgumentError(OblixError):
    """The call is wrong whatever the state. `metadata["field"]` names the argument."""


class NotFoundError(OblixError):
    """There is no such thing."""


class AlreadyExistsError(OblixError):
    """It exists already."""


class PermissionDeniedError(OblixError):
    """This caller may not do it."""


class UnauthenticatedError(OblixError):
    """The daemon wants a token, or another one."""


class FailedPreconditionError(OblixError):
    """Something else must happen first; the message says what."""


class AgentRefusedError(FailedPreconditionError):
    """An agent's check said `proceed: False`. The message is its reason; nothing was sent or recorded."""


class AbortedError(OblixError):
    """Somebody else changed it in between. Read it again and retry."""


class ResourceExhaustedError(OblixError):
    """A limit is reached, or the disk is full."""


class UnavailableError(OblixError):
    """A model or the daemon can't be reached just now. The same call may go through later."""


class DaemonStartError(UnavailableError):
    """No daemon runs, and none could be started. The message says why and where its log is."""


class DeadlineExceededError(OblixError):
    """The time that was given is over."""


class CallCancelledError(OblixError):
    """The daemon ended the call before it was done."""


class UnimplementedError(OblixError):
    """The daemon does not know this call: it is older than this client. Restart it."""


class DataLossError(OblixError):
    """What is on disk is damaged."""


class InvalidAnswerError(OblixError):
    """The model's answer is not of the form that was asked for, or it called tools for too long."""

    def __init__(
        self,
        message: str,
        *,
        answer: str = "",
        reason: str = "ANSWER_INVALID",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.answer = answer
        """What the model said."""


class InternalError(OblixError):
    """A defect of ours. The daemon's log has the details."""
