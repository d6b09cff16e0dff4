"""What a server's rate limit leaves, as the headers of its answers tell.

OpenAI writes durations (x-ratelimit-reset-requests: 6m0s), and many compatible
servers do as it does; others write seconds or the time since 1970, in seconds or
milliseconds. Anthropic writes instants (anthropic-ratelimit-tokens-reset, RFC 3339).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

LONGEST_RETRY_AFTER_S = 3600.0
"""A server that asks to wait for longer than this is not believed."""
LONGEST_S = 600.0
"""A server that closes itself for longer is asked again all the same."""
_ANTHROPIC = ("requests", "tokens", "input-tokens", "output-tokens")
_HEADERS = (
    *((f"x-ratelimit-remaining-{kind}", f"x-ratelimit-reset-{kind}") for kind in ("requests", "tokens")),
    *((f"anthropic-ratelimit-{kind}-remaining", f"anthropic-ratelimit-{kind}-reset") for kind in _ANTHROPIC),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
)
_MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms")
"""OpenAI's and Azure's."""
_RESETS = ("x-ratelimit-reset-after", "x-ratelimit-reset", "ratelimit-reset", "x-rate-limit-reset")
"""Of no named limit: OpenRouter's, GitHub's, Kong's, and those of RFC drafts before `RateLimit`."""
_DRAFT = re.compile(r"\breset=(\d+)|\bt=(\d+)")
"""The field `RateLimit` of draft-ietf-httpapi-ratelimit-headers, in its older and its newer form."""
_DRAFT_LEFT = re.compile(r"\bremaining=(\d+)|\br=(\d+)")
"""What the same field says is left. The newer form names several limits, each with both."""
_SPELLED = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(?:s|secs?|seconds?)?", re.IGNORECASE)
"""Seconds as servers spell them beside the whole number that HTTP wants: `1.5`, `30 s`, `30 seconds`."""
_TURNED_AWAY = {429, 503, 529}
_DURATION = re.compile(
    r"(?=\d)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?"
)
_UNITS_S = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_EPOCH_S = 1e9
"""A number from here on is no duration but a time since 1970; a thousand times as much is in milliseconds."""


class RateLimit:
    """Remembers until when a server takes no request."""

    def __init__(self) -> None:
        self._until_s = 0.0

    @property
    def left_s(self) -> float:
        """Seconds until the server takes requests again, at most `LONGEST_S`. 0: now."""
        return max(0.0, self._until_s - time.monotonic())

    def heard(self, status: int, headers: Mapping[str, str]) -> None:
        """Take in the head of an answer to a prompt: the latest counts."""
        longest_s = max(_waits(status, headers), default=0.0)
        self._until_s = time.monotonic() + min(longest_s, LONGEST_S)


def reset_s(value: str) -> float | None:
    """Read in how many seconds a limit is lifted, in any of the forms above; None where it is none."""
    value = value.strip()
    if not value.isascii():
        return None
    if _NUMBER.fullmatch(value):
        return _of_number(float(value))
    if match := _DURATION.fullmatch(value):
        return sum(float(count) * unit for count, unit in zip(match.groups(), _UNITS_S, strict=True) if count)
    return _until(value)


def asked_wait_s(headers: Mapping[str, str], *, is_limited: bool) -> float | None:
    """Read when to come back in the head of a refusal. None: it does not say it, or what is absurd.

    `is_limited`: a rate limit is the reason. Of any other refusal, the state of the limits says nothing.
    """
    waits = (*_asked_waits(headers), *(_limit_waits(headers) if is_limited else ()))
    told = (seconds for seconds in waits if seconds is not None)
    return next((seconds for seconds in told if seconds <= LONGEST_RETRY_AFTER_S), None)


def _asked_waits(headers: Mapping[str, str]) -> Iterator[float | None]:
    """Give what the head says, the most exact first."""
    for name in _MILLISECONDS:
        if _NUMBER.fullmatch(given := headers.get(name, "").strip()):
            yield float(given) / 1000
    yield _header_wait_s(headers.get("Retry-After", ""))


def _header_wait_s(given: str) -> float | None:
    """Read a Retry-After in any form. Of several, which proxies join to one, the longest counts."""
    seconds = retry_after_s(given)
    if seconds is None:
        seconds = reset_s(given)
    if seconds is None:
        told = [_spelled_s(one) for one in given.split(",")]
        seconds = max((one for one in told if one is not None), default=None)
    return seconds


def _spelled_s(text: str) -> float | None:
    found = _SPELLED.fullmatch(text.strip().strip('"').removeprefix("+")) if text.isascii() else None
    return float(found[1]) if found else None


def _limit_waits(headers: Mapping[str, str]) -> Iterator[float | None]:
    spent = (
        reset_s(headers.get(reset, "")) for remaining, reset in _HEADERS if _is_spent(headers, remaining)
    )
    yield max((seconds for seconds in spent if seconds is not None), default=None)
    for name in _RESETS:
        remaining = name.removesuffix("-after").replace("reset", "remaining")
        if headers.get(remaining, "0").strip() == "0":
            yield reset_s(headers.get(name, ""))
    yield _draft_s(headers.get("RateLimit", ""))


def _draft_s(field: str) -> float | None:
    """Read the longest wait of the limits that are spent; of all where the field does not say which are."""
    # The older form has one limit, and commas between its parts.
    limits = field.split(",") if _DRAFT_LEFT.search(field) and "=" in field and ";" in field else [field]
    waits: list[tuple[bool, float]] = []
    for limit in limits:
        if match := _DRAFT.search(limit):
            left = _DRAFT_LEFT.search(limit)
            waits.append((left is not None and not float(left[1] or left[2]), float(match[1] or match[2])))
    spent = [seconds for is_spent, seconds in waits if is_spent]
    return max(spent or [seconds for _, seconds in waits], default=None)


def _is_spent(headers: Mapping[str, str], remaining: str) -> bool:
    return headers.get(remaining, "").strip() == "0"


def _waits(status: int, headers: Mapping[str, str]) -> Iterator[float]:
    for remaining, reset in _HEADERS:
        if _is_spent(headers, remaining):
            yield reset_s(headers.get(reset, "")) or 0.0
    if status in _TURNED_AWAY:
        yield asked_wait_s(headers, is_limited=status == HTTPStatus.TOO_MANY_REQUESTS) or 0.0
        yield _header_wait_s(headers.get("Retry-After", "")) or 0.0


def _of_number(number: float) -> float:
    if number < _EPOCH_S:
        return number
    return max(0.0, (number if number < _EPOCH_S * 1000 else number / 1000) - time.time())


def _until(instant: str) -> float | None:
    try:
        when = datetime.fromisoformat(instant)
    except ValueError:
        return None
    # RFC 3339 wants an offset; without one it can only be meant so.
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, when.timestamp() - time.time())


def retry_after_s(value: str | None) -> float | None:
    """Read a Retry-After header, seconds or a date. None where it is absent or absurd."""
    if value is None:
        return None
    value = value.strip()  # takes off control characters, too, which float() does not
    seconds = float(value) if value.isascii() and value.isdecimal() else _until_date(value)
    return seconds if seconds is not None and 0 <= seconds <= LONGEST_RETRY_AFTER_S else None


def _until_date(date: str) -> float | None:
    try:
        when = parsedate_to_datetime(date)
        # Its older forms name no zone: all are in GMT.
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
