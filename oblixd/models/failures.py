"""Turns what went wrong at a model's server into a ModelError that says what to do.

Every sentence that a person reads about a failing model is made here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from oblixd.models.base import ModelError, ModelErrorKind, UnableError

LONGEST_QUOTE = 500
"""Characters of a server's own words that an error repeats."""
SHORTEST_SECRET = 8
"""Characters of a key that is worth hiding. A shorter one is made up, and would be found in any word."""
LONGEST_RETRY_AFTER_S = 3600.0
"""A server that asks for more patience than this is not believed."""

_BY_STATUS = {
    401: ModelErrorKind.UNAUTHENTICATED,
    403: ModelErrorKind.UNAUTHENTICATED,
    404: ModelErrorKind.NOT_PULLED,
    429: ModelErrorKind.RATE_LIMITED,
    502: ModelErrorKind.UNREACHABLE,
    503: ModelErrorKind.OVERLOADED,
    504: ModelErrorKind.UNREACHABLE,
    529: ModelErrorKind.OVERLOADED,
}
_BY_CODE = {
    "context_length_exceeded": ModelErrorKind.CONTEXT_OVERFLOW,
    "exceed_context_size_error": ModelErrorKind.CONTEXT_OVERFLOW,
    "authentication_error": ModelErrorKind.UNAUTHENTICATED,
    "permission_error": ModelErrorKind.UNAUTHENTICATED,
    "invalid_api_key": ModelErrorKind.UNAUTHENTICATED,
    "model_not_found": ModelErrorKind.NOT_PULLED,
    "not_found_error": ModelErrorKind.NOT_PULLED,
    "rate_limit_error": ModelErrorKind.RATE_LIMITED,
    "rate_limit_exceeded": ModelErrorKind.RATE_LIMITED,
    "insufficient_quota": ModelErrorKind.RATE_LIMITED,
    "overloaded_error": ModelErrorKind.OVERLOADED,
}
_OVERFLOW_WORDS = (
    "prompt is too long",
    "maximum context length",
    "exceed context limit",
    "exceeds the context length",
    "exceeds the available context size",
)
_REMEDIES = {
    ModelErrorKind.UNAUTHENTICATED: "Hook the model again with a key that is valid for it",
    ModelErrorKind.RATE_LIMITED: "Wait a moment, or use another model",
    ModelErrorKind.OVERLOADED: "Wait a moment, or use another model",
    ModelErrorKind.CONTEXT_OVERFLOW: "Send less, or use a model with a longer context",
    ModelErrorKind.REFUSED: "Change the request, or use another model",
    ModelErrorKind.UNREACHABLE: "Check the endpoint and the network",
    ModelErrorKind.FAILED: "The server's log says more",
}


@dataclass(frozen=True, slots=True)
class Peer:
    """The server at the other end, as our sentences name it."""

    title: str
    """Who it is, at the start of a sentence: Ollama, OpenAI."""
    endpoint: str
    """Where it listens. Empty for the embedded model."""
    start: str = "check that its server runs and that the endpoint is right"
    """What to do where nothing listens."""
    missing: str = "Check the model's name"
    """What to do where it does not have the model."""
    api_key: str = field(default="", repr=False)
    """Taken out of everything that it says."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """The same: values of headers and parameters that may be keys."""

    def error(self, kind: ModelErrorKind, message: str, retry_after_s: float | None = None) -> ModelError:
        """Make an error whose message can't hold the key."""
        return ModelError(
            kind, self._without_key(message), endpoint=self.endpoint, retry_after_s=retry_after_s
        )

    def unable(self, message: str) -> UnableError:
        """Refuse a request that this provider can't do: its server is not asked."""
        return UnableError(ModelErrorKind.REFUSED, self._without_key(message), endpoint=self.endpoint)

    def refused(self) -> ModelError:
        """Nothing listens there."""
        return self.error(ModelErrorKind.UNREACHABLE, f"{self.title} isn't running{self._at}: {self.start}.")

    def unreachable(self, why: str) -> ModelError:
        """No connection came about, or it was lost before the first content."""
        remedy = _REMEDIES[ModelErrorKind.UNREACHABLE]
        return self.error(
            ModelErrorKind.UNREACHABLE, f"{self.title} can't be reached{self._at}: {why}. {remedy}."
        )

    def silent(self, seconds: float) -> ModelError:
        """It took the request and sent no content in time."""
        why = f"it took the request and sent no content for {seconds:g} s"
        return self.error(
            ModelErrorKind.UNREACHABLE, f"{self.title}{self._at}: {why}. Try again, or use another model."
        )

    def stalled(self, seconds: float) -> ModelError:
        """It stopped in the middle of its answer."""
        why = f"stopped in the middle of its answer and sent nothing for {seconds:g} s"
        return self.error(
            ModelErrorKind.STALLED, f"{self.title}{self._at} {why}. Ask again, or use another model."
        )

    def broken(self, why: str) -> ModelError:
        """Its answer ended early or can't be read."""
        message = f"{self.title}{self._at} broke off its answer: {why}. Ask again, or use another model."
        return self.error(ModelErrorKind.BROKEN_STREAM, message)

    def answered(self, status: int, headers: Mapping[str, str], body: bytes) -> ModelError:
        """It answered the request with another status than 200."""
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            where = headers.get("Location", "elsewhere")[:LONGEST_QUOTE]
            return self.unreachable(f"it redirects to {where}, which is not followed")
        words, codes = _read(body)
        kind = _kind(words, codes) or _BY_STATUS.get(status) or _by_class(status)
        message = f"{self.title}{self._at} answered {status}{_quoted(words)}. {self._remedy(kind)}."
        return self.error(kind, message, retry_after_s(headers.get("Retry-After")))

    def reported(self, error: object) -> ModelError:
        """It sent an error object inside a stream that had begun well."""
        words, codes = _words(error), frozenset(_codes(error))
        wrong = {"400", "invalid_request_error"} & codes
        kind = _kind(words, codes) or (ModelErrorKind.REFUSED if wrong else ModelErrorKind.FAILED)
        message = f"{self.title}{self._at} reports a failure{_quoted(words)}. {self._remedy(kind)}."
        return self.error(kind, message)

    @property
    def _at(self) -> str:
        return f" at {self.endpoint}" if self.endpoint else ""

    def _remedy(self, kind: ModelErrorKind) -> str:
        return self.missing if kind is ModelErrorKind.NOT_PULLED else _REMEDIES[kind]

    def _without_key(self, text: str) -> str:
        for secret in (self.api_key, *self.secrets):
            text = text.replace(secret, "[key]") if len(secret) >= SHORTEST_SECRET else text
        return text


def retry_after_s(value: str | None) -> float | None:
    """Read a Retry-After header, seconds or a date. None where it is absent or absurd."""
    if value is None:
        return None
    seconds = float(value) if value.isascii() and value.strip().isdecimal() else _until(value)
    return seconds if seconds is not None and 0 <= seconds <= LONGEST_RETRY_AFTER_S else None


def _until(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return None


def _by_class(status: int) -> ModelErrorKind:
    return ModelErrorKind.FAILED if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ModelErrorKind.REFUSED


def _read(body: bytes) -> tuple[str, frozenset[str]]:
    text = body.decode("utf-8", "replace").strip()
    try:
        error = json.loads(text)
    except (ValueError, RecursionError):
        # A proxy's error page says nothing that a person wants to read here.
        return ("" if text.startswith("<") else text), frozenset()
    return _words(error), frozenset(_codes(error))


def _words(error: object, depth: int = 3) -> str:
    """Find a server's own words: {"error": …}, {"message": …}, {"detail": …} or plain text."""
    if isinstance(error, str):
        return error
    if not isinstance(error, dict) or not depth:
        return ""
    return next(
        (_words(error[key], depth - 1) for key in ("error", "message", "detail") if error.get(key)), ""
    )


def _codes(error: object, depth: int = 3) -> Iterator[str]:
    if not isinstance(error, dict) or not depth:
        return
    yield from (str(error[key]) for key in ("type", "code") if error.get(key))
    yield from _codes(error.get("error"), depth - 1)


def _kind(words: str, codes: frozenset[str]) -> ModelErrorKind | None:
    if any(mark in words.lower() for mark in _OVERFLOW_WORDS):
        return ModelErrorKind.CONTEXT_OVERFLOW
    named = (kind for code, kind in _BY_CODE.items() if code in codes)
    numbered = (kind for status, kind in _BY_STATUS.items() if str(status) in codes)
    return next(named, None) or next(numbered, None)


def _quoted(words: str) -> str:
    words = " ".join(words.split())[:LONGEST_QUOTE].rstrip(".")
    return f": {words}" if words else ""
