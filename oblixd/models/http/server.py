"""Where a model's server is, how it is spoken to, and how long it is waited for.

Turns what went wrong at a model's server into a ModelError that says what to do.

Every sentence that a person reads about a failing model is made here.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType

from oblixd.models.base import ModelError, ModelErrorKind, UnableError
from oblixd.models.http.outbound import OutboundRoute
from oblixd.models.http.rate_limit import LONGEST_RETRY_AFTER_S, asked_wait_s
from oblixd.models.http.refusals import PAY, Refusal, Verdict, judge
from oblixd.models.options import MOST_STREAMS, ModelOptions
from oblixd.redaction import SECRETS, clean

LONGEST_QUOTE = 500
"""Characters of a server's own words that an error repeats."""
LONGEST_EXCERPT = 64 * 1024
"""Bytes that are read of an error's body."""

_OF_ANSWERS = (b'"choices"', b'"message_start"', b'"response.', b'"done"', b'"output"')
"""What the beginning of an answer holds in each format, and a refusal does not."""
_WAIT = "Wait a moment, or use another model"
_REMEDIES = {
    ModelErrorKind.UNAUTHENTICATED: "Give a key that is valid, by environment, configuration or hook",
    ModelErrorKind.RATE_LIMITED: _WAIT,
    ModelErrorKind.OVERLOADED: _WAIT,
    ModelErrorKind.CONTEXT_OVERFLOW: "Send less, or use a model with a longer context",
    ModelErrorKind.REFUSED: "Change the request, or use another model",
    ModelErrorKind.NO_CREDIT: PAY,
    ModelErrorKind.WRONG_PATH: "The endpoint's path may be wrong: check the URL of the hook",
    ModelErrorKind.UNREACHABLE: "Check the endpoint and the network",
    ModelErrorKind.FAILED: "The server's log says more",
}


class RefusalError(ModelError):
    """A server answered with a refusal. What it said is there for who can change the request."""

    def __init__(
        self,
        kind: ModelErrorKind,
        message: str,
        *,
        refusal: Refusal,
        endpoint: str = "",
        retry_after_s: float | None = None,
        numbers: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        super().__init__(kind, message, endpoint=endpoint, retry_after_s=retry_after_s, numbers=numbers)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class ServerErrors:
    """The server at the other end, as our sentences name it."""

    title: str
    """Who it is, at the start of a sentence: Ollama, OpenAI."""
    endpoint: str
    """Where it listens. Empty for the embedded model."""
    start: str = "check that its server runs and that the endpoint is right"
    """What to do where nothing listens."""
    missing_model_advice: str = "Check the model's name"
    """What to do where it does not have the model."""
    api_key: str = field(default="", repr=False)
    """Taken out of everything that it says."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """The same: values of headers and parameters that may be keys."""

    def __post_init__(self) -> None:
        SECRETS.learn(self.api_key, *self.secrets)

    def error(self, kind: ModelErrorKind, message: str, retry_after_s: float | None = None) -> ModelError:
        """Make an error whose message can't hold the key."""
        return ModelError(kind, message, endpoint=self.endpoint, retry_after_s=retry_after_s)

    def unable(self, message: str) -> UnableError:
        """Refuse a request that this provider can't do: its server is not asked."""
        return UnableError(ModelErrorKind.REFUSED, message, endpoint=self.endpoint)

    def refused_connection(self, hint: str = "") -> ModelError:
        """Nothing listens there. `hint`: a sentence that is added."""
        message = f"{self.title} isn't running{self._at}: {self.start}.{hint}"
        return self.error(ModelErrorKind.UNREACHABLE, message)

    def unreachable(self, why: str, hint: str = "") -> ModelError:
        """No connection came about, or it was lost before the first content. `hint`: one more sentence."""
        remedy = _REMEDIES[ModelErrorKind.UNREACHABLE]
        return self.error(
            ModelErrorKind.UNREACHABLE, f"{self.title} can't be reached{self._at}: {why}. {remedy}.{hint}"
        )

    def silent(self, seconds: float) -> ModelError:
        """Make the error for a server that took the request and sent no content in time."""
        why = f"it took the request and sent no content for {seconds:g} s"
        return self.error(
            ModelErrorKind.UNREACHABLE, f"{self.title}{self._at}: {why}. Try again, or use another model."
        )

    def stalled_answer(self, seconds: float) -> ModelError:
        """Make the error for a server that stopped in the middle of its answer."""
        why = f"stopped in the middle of its answer and sent nothing for {seconds:g} s"
        return self.error(
            ModelErrorKind.STALLED, f"{self.title}{self._at} {why}. Ask again, or use another model."
        )

    def broken_stream(self, why: str) -> ModelError:
        """Make the error for an answer that ended early or can't be read."""
        message = f"{self.title}{self._at} broke off its answer: {why}. Ask again, or use another model."
        return self.error(ModelErrorKind.BROKEN_STREAM, message)

    def empty_answer(self, *, is_cut: bool = False) -> ModelError:
        """Make the error for an answer without a word; `is_cut`: its length was the reason for the end."""
        if is_cut:
            why = "used up its max_tokens without a word of the answer. Allow more, or use another model"
        else:
            why = "ended its answer without a word. Ask again, or use another model"
        error = self.error(ModelErrorKind.EMPTY, f"{self.title}{self._at} {why}.")
        error.is_final = is_cut
        return error

    def error_response(
        self, status: int, headers: Mapping[str, str], body: bytes, url: str = ""
    ) -> ModelError:
        """Make the error for a status other than 200. `url` is what was asked for."""
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            where = clean(headers.get("Location", "elsewhere"))[:LONGEST_QUOTE]
            return self.unreachable(f"it redirects to {where}, which is not followed")
        refusal = Refusal.read(status, headers, body)
        verdict = judge(refusal)
        who = f"{refusal.gateway or self.title}{self._at}"
        asked = f" to {url}" if url and verdict.kind is ModelErrorKind.WRONG_PATH else ""
        said = f"{who} answered {status}{asked}" if not verdict.what else f"{who} says that {verdict.what}"
        wait_s = asked_wait_s(headers, is_limited=verdict.kind is ModelErrorKind.RATE_LIMITED)
        remedy = self._remedy(verdict, refusal.retry_after_s if wait_s is None else wait_s)
        message = f"{said}{_quote(refusal.words)}. {remedy}."
        return self._refusal_error(refusal, verdict.kind, message, wait_s)

    def no_answer(self, headers: Mapping[str, str], beginning: bytes) -> ModelError | None:
        """Make the error for a good status whose body is a refusal. None: it is none that can be read."""
        if any(mark in beginning for mark in _OF_ANSWERS):
            return None
        refusal = Refusal.read(0, headers, beginning)
        is_json = beginning.lstrip().startswith((b"{", b"["))
        if not refusal.words or (judge(refusal).kind is ModelErrorKind.FAILED and not is_json):
            return None
        return self._reported_failure(refusal, headers)

    def with_head(self, error: ModelError, headers: Mapping[str, str]) -> ModelError:
        """Make the error of a refusal in place of an answer anew: its head may say when to come back."""
        return self._reported_failure(error.refusal, headers) if isinstance(error, RefusalError) else error

    def error_event(self, error: object) -> ModelError:
        """Make the error for an error object inside a stream that had begun well."""
        return self._reported_failure(Refusal.from_event(error), {})

    def _reported_failure(self, refusal: Refusal, headers: Mapping[str, str]) -> ModelError:
        verdict = judge(refusal)
        wait_s = asked_wait_s(headers, is_limited=verdict.kind is ModelErrorKind.RATE_LIMITED)
        remedy = self._remedy(verdict, refusal.retry_after_s if wait_s is None else wait_s)
        message = f"{self.title}{self._at} reports a failure{_quote(refusal.words)}. {remedy}."
        return self._refusal_error(refusal, verdict.kind, message, wait_s)

    def _refusal_error(
        self, refusal: Refusal, kind: ModelErrorKind, message: str, retry_after: float | None
    ) -> RefusalError:
        given = refusal.retry_after_s if retry_after is None else retry_after
        return RefusalError(
            kind,
            message,
            endpoint=self.endpoint,
            retry_after_s=given if given is not None and given <= LONGEST_RETRY_AFTER_S else None,
            refusal=refusal,
        )

    @property
    def _at(self) -> str:
        return f" at {self.endpoint}" if self.endpoint else ""

    def _remedy(self, verdict: Verdict, wait_s: float | None) -> str:
        own = (
            self.missing_model_advice
            if verdict.kind is ModelErrorKind.NOT_PULLED
            else _REMEDIES[verdict.kind]
        )
        if wait_s is not None and own == _WAIT and wait_s <= LONGEST_RETRY_AFTER_S:
            own = own.replace("a moment", f"{max(1, math.ceil(wait_s)):,} s, as it asks")
        return verdict.remedy or own


def _quote(words: str) -> str:
    # Cleaned before it is cut: half a key is no less a secret, and harder to find.
    words = " ".join(clean(words).split())[:LONGEST_QUOTE].rstrip(".。")
    return f": {words}" if words else ""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for a server, in seconds. There is no limit to a whole answer.

    Every byte that comes is a sign of life: comments, pings, reports of progress, empty lines, a chunk that
    holds only a role. Silence is measured from one to the next.
    """

    connect_s: float = 5.0
    """For the connection, TLS included."""
    first_s: float = 300.0
    """Of silence before the first content: a server may load the model and read a long prompt."""
    stall_s: float = 120.0
    """Of silence after it."""
    content_s: float | None = 3600.0
    """From content to content, whatever signs of life come in between. None: as long as they come."""
    first_token_s: float | None = None
    """From the request to the first content, whatever signs of life come. None: as `content_s`."""


TIMEOUTS = Timeouts()
PROBE_TIMEOUTS = Timeouts(connect_s=2.0, first_s=3.0, stall_s=3.0, content_s=3.0)
"""For what is asked beside prompts."""


Works = Callable[[str], Awaitable[bool]]
"""Tells whether the processes on this machine that serve an origin work now. False: not, or not known."""


def timeouts_of(options: ModelOptions, default: Timeouts, *, is_here: bool) -> Timeouts:
    """Return what a model's options say of waiting, and the default for the rest.

    `is_here`: the server is on this machine, and may take as long as it gives signs of life.
    """
    first_s = options.first_token_timeout_s
    given = {
        "connect_s": options.connect_timeout_s,
        "first_s": first_s if first_s is None or options.idle_timeout_s is None else options.idle_timeout_s,
        "first_token_s": first_s,
        "stall_s": options.idle_timeout_s,
    }
    timeouts = replace(default, **{name: value for name, value in given.items() if value is not None})
    return replace(timeouts, content_s=None) if is_here and default is TIMEOUTS else timeouts


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is and how it is spoken to."""

    errors: ServerErrors
    base_url: str
    """Without a slash at its end."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with every request. May hold a key."""
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Parameters of every request's URL."""
    socket_path: Path | None = None
    """The Unix socket that it listens on; the URL's host is then only a name."""
    timeouts: Timeouts = TIMEOUTS
    outbound_route: Callable[[], OutboundRoute] = OutboundRoute
    """How it is reached now; the configuration may change it."""
    works: Works | None = None
    """Asked when a server on this machine was silent for too long: while it works it is waited for."""
    max_connections: int = MOST_STREAMS + 64
    """Open at once. A request beyond waits for one, and nobody hears of it: so a model has fewer
    slots, and probes have some."""
