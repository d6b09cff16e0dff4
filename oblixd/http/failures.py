"""How an error becomes an HTTP answer: one table for status and words, whichever API the client speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from oblixd import errors
from oblixd.errors import OblixdError

_STATUS: dict[type[OblixdError], int] = {
    errors.InvalidArgumentError: 400,
    errors.NotFoundError: 404,
    errors.AlreadyExistsError: 409,
    errors.PermissionDeniedError: 403,
    errors.FailedPreconditionError: 400,
    errors.AbortedError: 409,
    errors.ResourceExhaustedError: 429,
    errors.UnavailableError: 503,
    errors.DeadlineExceededError: 504,
    errors.DataLossError: 500,
    errors.InternalError: 500,
}
"""Where the reason does not say more."""

_BY_REASON = {
    "TOKEN_MISSING": 401,
    "TOKEN_UNKNOWN": 401,
    "METHOD_REFUSED": 405,
    "BODY_TOO_LARGE": 413,
    "MODEL_NOT_FOUND": 404,
    "MODEL_KEY_REFUSED": 403,
    "NO_MODEL_ALLOWED": 403,
    "MODEL_STALLED": 504,
    "MODEL_STREAM_BROKEN": 502,
    "MODEL_FAILED": 502,
    "STORE_FULL": 507,
    "STORE_FRAGMENTED": 507,
    "DISK_FULL": 507,
}

_LASTING = frozenset(
    {
        "BUDGET_SPENT",
        "STORE_FULL",
        "STORE_FRAGMENTED",
        "DISK_FULL",
        "MODEL_KEY_REFUSED",
        "NO_MODEL_ALLOWED",
    }
)
"""Errors that the same request meets again. The official SDKs then do not send it again, if told so."""

_SOON_S = 1
"""Seconds after which a client may come again where the error does not say when."""
OVERFLOW = "CONTEXT_OVERFLOW"


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as an HTTP answer needs it."""

    status: int
    reason: str
    """Our reason code."""
    message: str
    """What is wrong and what to do next."""
    field: str = ""
    """The field that is wrong, where one is."""
    retry_after_s: int | None = None
    needed_tokens: int = 0
    window_tokens: int = 0
    """Set with CONTEXT_OVERFLOW, where they are known."""

    def in_words_of(self, fields: Mapping[str, str]) -> Failure:
        """Return it with the API's own name of the wrong field. `fields`: by those of the contract."""
        name, _, rest = self.field.partition(".")
        if name not in fields:
            return self
        told = ".".join(filter(None, (fields[name], rest)))
        return replace(self, field=told, message=self.message.replace(f"{self.field} ", f"{told} ", 1))

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that tell a client when to come again, and whether at all."""
        result = {"x-oblix-reason": self.reason}
        if self.retry_after_s is not None:
            result["Retry-After"] = str(self.retry_after_s)
        if self.reason in _LASTING:
            result["x-should-retry"] = "false"
        return result


def failure_of(error: Exception) -> Failure:
    """Translate an error. What is none of ours is a defect, told as such."""
    if not isinstance(error, OblixdError):
        message = "A defect in oblixd; its log has the details."
        return Failure(500, "INTERNAL", message)
    kind = next(kind for kind in type(error).__mro__ if kind in _STATUS)
    status = _BY_REASON.get(error.reason, _STATUS[kind])
    return Failure(
        status,
        error.reason,
        error.message,
        field=error.metadata.get("field", ""),
        retry_after_s=_retry_after(error, status),
        needed_tokens=_number(error, "needed_tokens"),
        window_tokens=_number(error, "window_tokens"),
    )


def _retry_after(error: OblixdError, status: int) -> int | None:
    if status not in (429, 503) or error.reason in _LASTING:
        return None
    told = error.metadata.get("retry_after_s", "")
    try:
        return max(1, round(float(told)))
    except ValueError:
        return _SOON_S


def _number(error: OblixdError, key: str) -> int:
    text = error.metadata.get(key, "")
    return int(text) if text.isdigit() else 0
