"""Tells what kind of refusal it is, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

from oblixd.models.base import ModelErrorKind
from oblixd.models.http.refusals.phrases import (
    BUSY,
    BY_CODE,
    BY_STATUS,
    CLOUDFLARE,
    COUNTRY,
    FLAGGED,
    KEY,
    LIKELY_OVERFLOW,
    MEMORY,
    NO_ACCESS,
    NO_CREDIT,
    NO_MODEL,
    NO_PATH,
    NO_PROVIDER,
    NOT_LOADED,
    OF_THE_ANSWER,
    OFFLINE,
    ONLY_RESPONSES,
    OTHER_THINGS,
    OVERFLOW,
    REFUSED_LATE,
    TOO_BIG_AT_ONCE,
    TOO_FAST,
    TOO_LARGE,
    UNLOADED,
    WANTS_TLS,
)
from oblixd.models.http.refusals.reading import Refusal

_JUDGED = 4000
"""Characters of the words that are looked at."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What kind of refusal it is, and what to do about it."""

    kind: ModelErrorKind
    remedy: str = ""
    """The next step, where it is another one than the kind's own."""
    what: str = ""
    """What is said in place of `answered STATUS`, where that says more."""


PAY = "Pay in at the provider, or use another model: waiting does not help"
_SEND_LESS = "Send less: fewer messages, shorter ones or smaller images"
_REGION = "The provider does not serve the country that this machine reaches it from: use another model"
_ASK_LESS = (
    "Change what the sentence names, in the request or in the provider's settings, or use another model"
)
_ACCESS = "The account of this key may not use the model: get access to it, or use another model"
_FREE = "The server lacks memory: unload other models there, or use a smaller one"
_LOAD = "Load the model at its server, or use another one"
_SIGN_IN = "Run `ollama signin` on the machine of the server, or use another model"
_PATH = "The endpoint's path may be wrong: check the URL that the model was hooked with"
_TLS = "The server speaks TLS: hook it with an endpoint that begins with https://"
_COMPLETIONS = (
    "The model is there, but not for chat completions, nor was it found at /v1/responses: use another model"
)

_TELLING: tuple[tuple[frozenset[int], re.Pattern[str], Verdict], ...] = (
    (frozenset({404}), NO_PROVIDER, Verdict(ModelErrorKind.REFUSED, _ASK_LESS)),
    (frozenset({0, 200, 400, 403, 429}), FLAGGED, Verdict(ModelErrorKind.REFUSED)),
    (frozenset({401, 403}), NO_ACCESS, Verdict(ModelErrorKind.UNAUTHENTICATED, _ACCESS)),
    (frozenset({200, 400, 404, 424, 500, 503, 507}), MEMORY, Verdict(ModelErrorKind.FAILED, _FREE)),
    (frozenset({0, 400, 404}), UNLOADED, Verdict(ModelErrorKind.FAILED, "Ask again, or look at the server")),
    (frozenset({0, 400, 404}), NOT_LOADED, Verdict(ModelErrorKind.NOT_PULLED, _LOAD)),
    (frozenset({500}), REFUSED_LATE, Verdict(ModelErrorKind.REFUSED)),
    (frozenset({0, 200, 429, 498, 500, 503}), BUSY, Verdict(ModelErrorKind.OVERLOADED)),
    (frozenset({0, 200, 400, 403, 500}), TOO_FAST, Verdict(ModelErrorKind.RATE_LIMITED)),
    (frozenset({404, 502, 503}), OFFLINE, Verdict(ModelErrorKind.UNREACHABLE)),
    (frozenset({400}), WANTS_TLS, Verdict(ModelErrorKind.WRONG_PATH, _TLS)),
    (frozenset({400, 413}), TOO_LARGE, Verdict(ModelErrorKind.REFUSED, _SEND_LESS)),
    (frozenset({503}), NO_MODEL, Verdict(ModelErrorKind.NOT_PULLED)),
)
"""Sentences that say more than their status, and where: what OpenRouter, OpenAI, AWS, LM Studio, Ollama,
text-generation-inference, llama.cpp, Moonshot and MiniMax write."""
_SHORT_STATUS = 3
"""Digits of an HTTP status."""
_BLOCKED = "Neither the key nor the request is at fault: try another network, or ask who runs the gateway"


def judge(refusal: Refusal) -> Verdict:
    """Tell what kind of refusal it is. The words say more than the codes, and both more than the status."""
    words = refusal.words[:_JUDGED].lower()
    if refusal.gateway:
        return _by_gateway(refusal)
    return _by_words(refusal, words) or _by_codes(refusal, words) or _by_status(refusal, words)


def wants_responses(refusal: Refusal) -> bool:
    """Return whether it says that the model speaks only the calls of /v1/responses."""
    said = " ".join((refusal.words[:_JUDGED], *refusal.codes)).lower()
    return ONLY_RESPONSES.search(said) is not None


def _by_gateway(refusal: Refusal) -> Verdict:
    kind = ModelErrorKind.UNREACHABLE
    if why := CLOUDFLARE.get(refusal.status):
        return Verdict(kind, "Try again later, or use another model", f"{why} ({refusal.status})")
    if refusal.status == HTTPStatus.FORBIDDEN:
        return Verdict(kind, _BLOCKED, "it does not let the request through (403)")
    return Verdict(BY_STATUS.get(refusal.status, kind))


def _by_words(refusal: Refusal, words: str) -> Verdict | None:
    if wants_responses(refusal):
        return Verdict(ModelErrorKind.REFUSED, _COMPLETIONS)
    if _is_overflow(refusal, words):
        return Verdict(ModelErrorKind.CONTEXT_OVERFLOW)
    if (sizes := TOO_BIG_AT_ONCE.search(words)) and int(sizes[2]) > int(sizes[1]):
        return Verdict(ModelErrorKind.CONTEXT_OVERFLOW, "Send less, or use another plan or model")
    if "signin_url" in refusal.codes:
        return Verdict(ModelErrorKind.UNAUTHENTICATED, _SIGN_IN)
    if NO_CREDIT.search(words) and not _passes(refusal):
        return Verdict(ModelErrorKind.NO_CREDIT)
    if COUNTRY.search(f"{words} {' '.join(refusal.codes)}"):
        return Verdict(ModelErrorKind.UNAUTHENTICATED, _REGION)
    if refusal.status in _NAMES_NOTHING and KEY.search(words):
        return Verdict(ModelErrorKind.UNAUTHENTICATED)
    return next(
        (verdict for at, said, verdict in _TELLING if refusal.status in at and said.search(words)), None
    )


_NAMES_NOTHING = {0, 400, 403, 422, 500}
"""Statuses that some servers send for a wrong key as well."""


def _is_overflow(refusal: Refusal, words: str) -> bool:
    if refusal.status in {401, 402, 403, 429} or OF_THE_ANSWER.search(words):
        return "maximum context length" in words and refusal.status not in {401, 402, 403}
    if TOO_FAST.search(words):
        return False
    likely = LIKELY_OVERFLOW.search(words) and not OTHER_THINGS.search(words)
    return OVERFLOW.search(words) is not None or bool(likely)


def _passes(refusal: Refusal) -> bool:
    """Return whether it passes: it says when to come back, or what it is. A limit of nothing never does."""
    words = refusal.words.lower()
    if "limit: 0" in words:
        return False
    # Alibaba writes of its limit of a minute as OpenAI does of an empty account; only its link tells.
    told = re.match("rate limit (exceeded|reached)", words) or "error-code#token-limit" in words
    return refusal.retry_after_s is not None or bool(told)


def _by_codes(refusal: Refusal, words: str) -> Verdict | None:
    found = {BY_CODE[name] for code in refusal.codes for name in _names(code) if name in BY_CODE}
    kind = next((kind for kind in BY_CODE.values() if kind in found), None)
    if kind is ModelErrorKind.NO_CREDIT and _passes(refusal):
        return Verdict(ModelErrorKind.RATE_LIMITED)
    if kind is not None:
        return Verdict(kind)
    if refusal.status in {0, HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR}:
        return _by_hidden_status(refusal) or _absent(words)
    return None


def _names(code: str) -> Iterator[str]:
    """Give a code and its parts as the table writes them: AWS puts a package before it, others a group."""
    for part in (code, *re.split(r"[.#]", code)):
        yield re.sub(r"[\W_]", "", part).lower()


def _by_hidden_status(refusal: Refusal) -> Verdict | None:
    """Find a status inside the body: streams and gateways carry the real one there."""
    numbers = (
        int(code)
        for code in refusal.codes
        if code.isascii() and code.isdecimal() and len(code) == _SHORT_STATUS
    )
    status = next((number for number in numbers if number in BY_STATUS or number // 100 in {4, 5}), None)
    if status is None or status == refusal.status:
        return None
    return _by_status(Refusal(status, refusal.words), refusal.words.lower())


def _absent(words: str) -> Verdict | None:
    if NO_PATH.search(words):
        return Verdict(ModelErrorKind.WRONG_PATH)
    return Verdict(ModelErrorKind.NOT_PULLED) if NO_MODEL.search(words) else None


def _by_status(refusal: Refusal, words: str) -> Verdict:
    if refusal.status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        # A server that says something of its own knows the path, and so misses the model.
        says_more = re.sub(r"[\W\d_]|error|page", "", words) not in {"", "notfound"}
        return _absent(words) or Verdict(
            ModelErrorKind.NOT_PULLED if says_more else ModelErrorKind.WRONG_PATH
        )
    if refusal.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Verdict(ModelErrorKind.REFUSED, _SEND_LESS)
    if kind := BY_STATUS.get(refusal.status):
        return Verdict(kind)
    wrong = {"invalid_request_error", "BadRequestError"} & refusal.codes and not refusal.status
    server = refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR or not refusal.status
    return Verdict(ModelErrorKind.FAILED if server and not wrong else ModelErrorKind.REFUSED)
