"""Reads what a server says where it refuses a request: its sentences and codes, in whatever shape."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from oblixd.models.http.refusals.phrases import CLOUDFLARE
from oblixd.models.http.refusals.retry_delay import retry_delay_s
from oblixd.patterns import pattern

_DEEPEST = 6
"""Levels of nesting that are read of an error."""
_MOST_SENTENCES = 4
"""Sentences of one error that are quoted. A validation can list hundreds."""
_WORDS = (
    "error",
    "errors",
    "err",
    "message",
    "messages",
    "msg",
    "detail",
    "details",
    "errormessage",
    "errormsg",
    "errmsg",
    "statusmsg",
    "errordescription",
    "description",
    "reason",
    "cause",
    "exception",
    "fault",
    "faultstring",
    "title",
)
"""The keys that hold words or something that does, the most telling first, without case and separators."""
_LIKE_WORDS = pattern(r"\w*(msg|message|info|text|reason|failure|warning|hint|error)(en|str)?")
"""Keys of the same kind: `resultMsg`, `statusText`, `message_en`. They count where none above does."""
_CODES = {
    *("type", "code", "status", "errorcode", "errcode", "reason", "name", "errortype", "statuscode"),
    *("resultcode", "retcode", "respcode", "httpcode", "httpstatus", "originalstatuscode"),
}
_AROUND = {
    *("error", "errors", "err", "message", "detail", "details", "fault", "metadata", "raw", "cause"),
    *("response", "data", "result", "body", "innererror", "exception"),
}
"""Keys of what codes are looked for in."""
_NOT_SAID = {
    *("input", "request", "requestid", "id", "created", "createdat", "timestamp", "time", "date", "path"),
    *("instance", "url", "uri", "object", "model", "headers", "stack", "trace", "traceback", "choices"),
}
"""Keys of values that are no words of the server's about the failure."""
_XML_WORDS = pattern(
    r"<(?:\w+:)?(message|faultstring|detail|description|reason|title|h1)\b[^>]*>([^<]+)<", re.IGNORECASE
)
_XML_CODES = pattern(r"<(?:\w+:)?(code|faultcode|type)\b[^>]*>([^<]+)<", re.IGNORECASE)
_EVENT = pattern(r"^data: ?([{\[].*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a server answered in place of an answer."""

    status: int
    """The HTTP status; 0 for an error inside a stream that had begun well."""
    words: str
    """Its own sentences, in one line. Empty where it said none that a person wants to read."""
    codes: frozenset[str] = frozenset()
    """What it says for programs: types, codes and names."""
    gateway: str = ""
    """Who answered in the server's place, as a sentence names it. Empty: the server itself."""
    retry_after_s: float | None = None
    """When to come back, where the body says it. Headers are read elsewhere."""

    @classmethod
    def read(cls, status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
        """Read the answer to a request that was refused."""
        text = body.decode("utf-8", "replace").strip()
        # Some write the refusal as the one event of a stream, whatever the status.
        event = _EVENT.search(text) if text.startswith(("data:", "event:", "id:")) else None
        try:
            error: object = json.loads(event[1] if event else text)
        except (ValueError, RecursionError):
            return cls._of_text(status, headers, text)
        return cls(
            status, _sentence(error), frozenset(_codes(error)), _gateway_of(headers), retry_delay_s(text)
        )

    @classmethod
    def from_event(cls, error: object) -> Refusal:
        """Read an error object inside a stream."""
        codes = frozenset(_codes(error))
        return cls(0, _sentence(error), codes, retry_after_s=retry_delay_s(json.dumps(error, default=str)))

    @classmethod
    def _of_text(cls, status: int, headers: Mapping[str, str], text: str) -> Refusal:
        if not _is_markup(text):
            return cls(status, text, frozenset(), _gateway(status, headers, text), retry_delay_s(text))
        import html  # noqa: PLC0415 - its table of names is large, and seldom needed

        is_page = re.match(r"<!doctype html|<html|<head|<body|<center", text, re.IGNORECASE) is not None
        found = [html.unescape(" ".join(words.split())) for _, words in _XML_WORDS.findall(text)]
        codes = frozenset(code.strip() for _, code in _XML_CODES.findall(text))
        words = "; ".join(dict.fromkeys(found[: 1 if is_page else _MOST_SENTENCES]))
        return cls(status, words, codes, _gateway(status, headers, text) if is_page else "")


def _sentence(error: object) -> str:
    sentences = list(dict.fromkeys(" ".join(words.split()) for words in _words(error)))
    telling = [one for one in sentences if _is_telling(one)] or sentences
    return "; ".join(telling[:_MOST_SENTENCES])


_PHRASES = {
    *(status.phrase.lower() for status in HTTPStatus if status != HTTPStatus.NOT_FOUND),
    "error",
    "fail",
    "failed",
    "provider returned error",
    "upstream error",
}
"""Say nothing that the status does not say."""


def _is_telling(words: str) -> bool:
    return words.lower() not in _PHRASES


def _words(error: object, depth: int = _DEEPEST) -> Iterator[str]:
    """Give the sentences of an error, whatever it is built of."""
    match error:
        case str() if error.strip():
            yield from _unpack(error.strip(), depth)
        case list() if depth:
            for one in error:
                yield from _words(one, depth - 1)
        case dict() if depth:
            yield from _of_object(error, depth - 1)


def _of_object(error: Mapping[str, object], depth: int) -> Iterator[str]:
    error = _plain_keys(error)
    found = [words for key in _WORDS if error.get(key) for words in _words(error[key], depth)]
    if not any(_is_telling(words) for words in found):
        found += _of_other_keys(error, depth)
    where = _place(error.get("loc") or error.get("instancepath"))
    yield from (f"{where}: {words}" if where else words for words in found)
    # OpenRouter: the words of the provider behind it.
    if isinstance(metadata := error.get("metadata"), dict) and metadata.get("raw"):
        yield from _words(metadata["raw"], depth)


def _of_other_keys(error: Mapping[str, object], depth: int) -> list[str]:
    """Give the words of keys that are like the known ones, else of inner objects, else any sentence."""
    values = {key: value for key, value in error.items() if key not in _NOT_SAID and key not in _WORDS}
    alike = [value for key, value in values.items() if _LIKE_WORDS.fullmatch(key)]
    inner = [value for value in values.values() if isinstance(value, dict | list) and value not in alike]
    found = [words for value in (*alike, *inner) for words in _words(value, depth)]
    return found or [value for value in values.values() if isinstance(value, str) and _is_sentence(value)]


def _is_sentence(text: str) -> bool:
    """Return whether a text is for people: it has several words, or a script that parts none."""
    return re.search(r"[^\W\d_]\s+[^\W\d_]|[^\x00-\u02ff]", text) is not None


def _plain_keys(error: Mapping[str, object]) -> Mapping[str, object]:
    """Write keys without case and separators: `errorMessage`, `error_msg`, `Message` of AWS and Tencent."""
    return {re.sub(r"[\W_]", "", str(key)).lower(): value for key, value in error.items()}


def _unpack(text: str, depth: int) -> Iterator[str]:
    """Gateways pass on the error of the server behind them as a text that holds JSON."""
    inner: object = None
    if text[0] in '[{"' and depth:
        try:
            inner = json.loads(text)
        except (ValueError, RecursionError):
            inner = None
    found = list(_words(inner, depth - 1)) if inner is not None else []
    yield from found or [text]


def _place(loc: object) -> str:
    """Pydantic and others say where a value stands: ["body", "stream_options"]."""
    if isinstance(loc, list):
        return ".".join(str(one) for one in loc)
    return loc if isinstance(loc, str) else ""


def _codes(error: object, depth: int = _DEEPEST) -> Iterator[str]:
    if isinstance(error, list) and depth:
        for one in error:
            yield from _codes(one, depth - 1)
    if isinstance(error, str) and error[:1] in ("{", "[", '"') and depth:
        try:
            yield from _codes(json.loads(error), depth - 1)
        except (ValueError, RecursionError):
            return
    if isinstance(error, dict) and depth:
        values = _plain_keys(error)
        if values.get("signinurl"):
            yield "signin_url"
        yield from (str(code) for key in _CODES if isinstance(code := values.get(key), str | int) and code)
        for key in _AROUND:
            value = values.get(key)
            if not isinstance(value, str) or value[:1] in ("{", "["):
                yield from _codes(value, depth - 1)


def _is_markup(text: str) -> bool:
    return re.match(r"<[!?a-z]", text, re.IGNORECASE) is not None


def _gateway(status: int, headers: Mapping[str, str], text: str) -> str:
    named = _gateway_of(headers)
    if named or status in CLOUDFLARE:
        return named or "Cloudflare, in front of the server,"
    is_page = _is_markup(text)
    blocked = status == HTTPStatus.FORBIDDEN and (is_page or re.match(r"error code: 1\d{3}\b", text))
    if not blocked:
        return ""
    for mark, name in _GATEWAYS.items():
        if mark in headers.get("Server", "").lower() or mark in text.lower():
            return f"{name}, in front of the server,"
    return "A gateway or firewall in front of the server"


_GATEWAYS = {
    "cloudflare": "Cloudflare",
    "cloudfront": "Amazon CloudFront",
    "awselb": "Amazon's load balancer",
    "akamai": "Akamai",
    "incapsula": "Imperva",
    "zscaler": "Zscaler",
    "fortiguard": "FortiGuard",
    "squid": "A Squid proxy",
}


def _gateway_of(headers: Mapping[str, str]) -> str:
    """Return who says itself that it answers in place of the server."""
    if headers.get("cf-mitigated"):
        return "Cloudflare, in front of the server,"
    return "A Squid proxy in front of the server" if headers.get("X-Squid-Error") else ""
