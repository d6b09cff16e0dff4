"""The errors that every package raises and the gRPC edge translates.

    OblixdError
    ├── InvalidArgumentError     the request is wrong whatever the state
    ├── NotFoundError            well-formed, but there is no such thing
    ├── AlreadyExistsError       it would be made twice
    ├── PermissionDeniedError    this caller may not
    ├── FailedPreconditionError  wrong now: something else must happen first
    ├── AbortedError             somebody else was faster; read again and retry
    ├── ResourceExhaustedError   a limit or the disk is full
    ├── UnavailableError         a model or the daemon can't be reached just now
    ├── DeadlineExceededError    the time that was given is over
    ├── DataLossError            what is on disk is damaged
    └── InternalError            a defect of ours

Each carries a sentence for a person (what is wrong and what to do next), an
UPPER_SNAKE reason for a program, and the dynamic values as metadata.
"""

from __future__ import annotations

import errno

from google.protobuf.message import DecodeError, EncodeError

from oblixd.redaction import clean

GIVEN_CHARACTERS = 64
"""So much of a bad value is repeated in an error's metadata."""


class OblixdError(Exception):
    """An error with a reason code. Raise one of the subclasses."""

    def __init__(self, reason: str, message: str, **metadata: object) -> None:
        message = clean(message)
        super().__init__(message)
        self.reason = reason
        """Stable, UPPER_SNAKE, at most 63 characters."""
        self.message = message
        """What is wrong and what to do next, for a person."""
        self.metadata = {key: clean(str(value)) for key, value in metadata.items()}
        """The dynamic values of the message, for a program."""

    def forget_traceback(self) -> None:
        """Let go of the frames that it passed through, and of the errors behind it.

        They hold prompts and connections. An error is kept for as long as its execution, and would
        be a part of a cycle with them, which only the collector frees.
        """
        self.__traceback__ = self.__cause__ = self.__context__ = None


class InvalidArgumentError(OblixdError):
    """The request is wrong whatever the state. Metadata names the `field`."""


def invalid_argument(
    reason: str, message: str, *, field: str, limit: object = None, given: object = None
) -> InvalidArgumentError:
    """Make the error for a bad value. It is the only way to one: a test looks for others.

    `message`: a sentence with the field, its limit and the next step. `limit` and `given` become metadata
    where they are not None; of `given`, the first 64 characters.
    """
    values = {
        "field": field,
        "limit": limit,
        "given": None if given is None else _shorten(str(given)),
    }
    return InvalidArgumentError(
        reason, message, **{key: value for key, value in values.items() if value is not None}
    )


def _shorten(value: str) -> str:
    text = clean(value)  # before it is cut: half a key is one that nobody recognises
    return text if len(text) <= GIVEN_CHARACTERS else text[:GIVEN_CHARACTERS] + "…"


def invalid_field(
    reason: str, field: str, problem: str, *, limit: object = "", given: object = ""
) -> InvalidArgumentError:
    """Make the error whose sentence is `field problem`."""
    return invalid_argument(reason, f"{field} {problem}", field=field, limit=limit, given=given)


def out_of_range(reason: str, field: str, limit: str, given: object) -> InvalidArgumentError:
    """Make the error for a value outside its limit: `field takes limit; given: given.`"""
    return invalid_field(reason, field, f"takes {limit}; given: {given}.", limit=limit, given=given)


class NotFoundError(OblixdError):
    """There is no such thing."""


class AlreadyExistsError(OblixdError):
    """It exists already."""


class PermissionDeniedError(OblixdError):
    """This caller may not."""


class FailedPreconditionError(OblixdError):
    """Something else must happen first."""


class AbortedError(OblixdError):
    """Somebody else changed it in between."""


class ResourceExhaustedError(OblixdError):
    """A limit is reached, or the disk is full."""


class UnavailableError(OblixdError):
    """It can't be reached just now; the same call may go through later."""


class DeadlineExceededError(OblixdError):
    """The time that was given is over."""


class DataLossError(OblixdError):
    """What is on disk is damaged."""


class InternalError(OblixdError):
    """A defect of ours."""


_NO_DESCRIPTORS = (
    "The daemon has as many files and connections open as it may, so this could not be done. Close clients "
    "that are not needed, or start the daemon with a higher limit (`ulimit -n`, systemd's LimitNOFILE=)."
)


_OUT_OF_MEMORY = (
    "The daemon got no more memory from the system, so this could not be finished. Close other programs, or "
    "raise the daemon's limit (`ulimit -v`, systemd's MemoryMax=); see whether it was done, then call again."
)


def is_lack_of_memory(problem: Exception) -> bool:
    """Return whether the system gave no memory, be it for a thread's stack or for a message's bytes.

    protobuf (upb, 7.36) has no MemoryError. Its DecodeError then names the arena. Its EncodeError has the
    same text for a message that nests too deep or is larger than 2 GiB, which our limits keep out.
    """
    if isinstance(problem, OSError):
        return problem.errno == errno.ENOMEM
    if isinstance(problem, DecodeError):
        return "Arena alloc failed" in str(problem)
    if isinstance(problem, EncodeError):
        return "Failed to serialize" in str(problem)
    return isinstance(problem, MemoryError) or str(problem) == "can't start new thread"


def from_exception(problem: Exception) -> OblixdError:
    """Turn any exception into an error for clients: an exhausted resource by name, the rest as a defect."""
    match problem:
        case OblixdError():
            return problem
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            return ResourceExhaustedError("NO_DESCRIPTORS", _NO_DESCRIPTORS)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            message = "The disk is full. Free some space, then try again; nothing was changed."
            return ResourceExhaustedError("DISK_FULL", message)
    if is_lack_of_memory(problem):
        return UnavailableError("OUT_OF_MEMORY", _OUT_OF_MEMORY)
    return InternalError("INTERNAL", f"A defect in oblixd: {problem!r}. The log has the details.")
