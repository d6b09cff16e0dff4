"""Checks of what a program hands in, before it is sent."""

from __future__ import annotations

from typing import Any

from oblix.errors import InvalidArgumentError

SHOWN_CHARACTERS = 80
FIELD_CHARACTERS = 200


def invalid(field: str, limit: str, value: object, reason: str = "INVALID_VALUE") -> InvalidArgumentError:
    """Return the error for a wrong argument. Where the daemon checks the same, the reason is the same."""
    field = _cut(field, FIELD_CHARACTERS)
    message = f"{field} takes {limit}; given: {value}."
    metadata = {"field": field, "limit": limit, "given": str(value)}
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


def session_id_of(value: object) -> str:
    """Return the id of a session that is named by its id, or by what a client returned of it."""
    if isinstance(value, str):
        return text(value, "session_id")
    from oblix.results import Session  # noqa: PLC0415 - the classes of results take longer than a check

    return text(value.id if isinstance(value, Session) else value, "session_id")


def whole_number(value: object, field: str, least: int, most: int | None = None) -> int:
    """Return the value where it is a whole number in a range, else InvalidArgumentError."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= (most or value):
        return value
    limit = f"of {least:,} or more" if most is None else f"from {least:,} to {most:,}"
    raise invalid(field, f"a whole number {limit}", describe(value))


def one_of(**given: Any) -> Any:
    """Return the one value that was given under one of several names, else InvalidArgumentError."""
    (first, *_), values = given, [value for value in given.values() if value is not None]
    if len(values) != 1:
        raise invalid(first, "one value", "none" if not values else f"it and {' and '.join(list(given)[1:])}")
    return values[0]


def data(value: object, field: str) -> bytes | None:
    """Return the value where it is bytes or None, else InvalidArgumentError."""
    if value is not None and not isinstance(value, bytes):
        raise invalid(field, "bytes", describe(value))
    return value


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}..."
