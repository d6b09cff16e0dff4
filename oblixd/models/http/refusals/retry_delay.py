"""When to come back, where the body of a refusal says it: in a field, or in a sentence.

The headers of a refusal are read in `rate_limit` and `server`, and count before this.
"""

from __future__ import annotations

import re

from oblixd.patterns import pattern

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_UNIT = (
    r"(?:(?P<{0}ms>ms|millis(?:econds?)?)|(?P<{0}s>s|secs?|seconds?)|(?P<{0}m>m|mins?|minutes?)"
    r"|(?P<{0}h>h|hrs?|hours?)|(?P<{0}d>d|days?))"
)
_SPAN = pattern(rf"(?P<count>\d+(?:\.\d+)?) ?{_UNIT.format('in_')}(?![a-z])", re.IGNORECASE)
_NAMELESS = re.sub(r"\?P<\w+>", "?:", _SPAN.pattern)
"""The same without its names, for a row of them."""
_SPANS = rf"(?P<spans>{_NAMELESS}(?:(?:,| and|, and)? ?{_NAMELESS})*)"
_SENTENCE = pattern(
    r'(?:"retry_?delay"\s*:\s*"|\b(?:retry|try|wait|resets?|available)(?: again)?(?: in| after| for)? '
    rf"(?:about |around |at least )?){_SPANS}",
    re.IGNORECASE,
)
"""Google's field `retryDelay`, or words: "Please try again in 7m12.5s", "wait 1 minute and 30 seconds"."""
_FIELD = pattern(
    r"\b(?:retry[-_ ]?after|retry_?delay|estimated_time)(?:[-_ ]?(?:in[-_]?)?"
    rf"{_UNIT.format('')})?\"?\s*[:=]\s*\"?(?P<count>\d+(?:\.\d+)?)(?![\d.:TZ-])"
    rf"(?: ?{_UNIT.format('of_')}\b)?",
    re.IGNORECASE,
)
"""A field, or a header that a sentence quotes: `retry_after_ms`, "Retry-After: 30". Without a unit: seconds.

`estimated_time` is Hugging Face's, while a model loads.
"""


def retry_delay_s(text: str) -> float | None:
    """Return after how many seconds a request may be sent again; None where a body does not say it."""
    if found := _SENTENCE.search(text):
        return sum(_seconds(one, "in_") for one in _SPAN.finditer(found["spans"]))
    if found := _FIELD.search(text):
        return _seconds(found, "of_" if _unit(found, "of_") else "")
    return None


def _seconds(match: re.Match[str], prefix: str) -> float:
    return float(match["count"]) * _UNITS_S[_unit(match, prefix) or "s"]


def _unit(match: re.Match[str], prefix: str) -> str:
    """Return the unit that was found, by the name of its group; empty: none."""
    return next((unit for unit in _UNITS_S if match[f"{prefix}{unit}"]), "")
