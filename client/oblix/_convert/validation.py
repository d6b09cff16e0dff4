"""Checks of what a program hands in, before it is sent."""

from __future__ import annotations

from oblix.errors import InvalidArgumentError

SHOWN_CHARACTERS = 80
FIELD_CHARACTERS = 200


def invalid(field: str, limit: str, given: object, reason: str = "INVALID_VALUE") -> InvalidArgumentError:
    """Return the error for a wrong argument. Where the daemon checks the same, the reason is the same."""
    field = _cut(field, FIELD_CHARACTERS)
    message = f"{field} takes {limit}; given: {given}."
    metadata = {"field": field, "limit": limit, "given": str(given)}
    return InvalidArgumentError(message, reason=reason, metadata=metadata)


def describe(value: object) -> str:
    """Return a value as an error names it: its type, and the start of what it looks like."""
    looks = repr(value).encode("ascii", "backslashreplace").decode()
    return f"{type(value).__name__} {_cut(looks, SHOWN_CHARACTERS)}"


def text(value: object, field: str) -> str:
    """Return the value where it is text that UTF-8 can carry, else InvalidArgumentError."""
    if not isinstance(value, str):
        raise invalid(field, "text", describe(value))
    try:
        value.encode()
    except UnicodeEncodeError as error:
        limit = "text without lone surrogates"
        given = f"{value[error.start]!r} at character {error.start}"
        raise invalid(field, limit, given, "NOT_JSON") from None
    return value


def data(value: object, field: str) -> bytes | None:
    """Return the value where it is bytes or None, else InvalidArgumentError."""
    if value is not None and not isinstance(value, bytes):
        raise invalid(field, "bytes", describe(value))
    return value


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}..."
