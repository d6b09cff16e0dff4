"""Page tokens: a place in a list, bound to the query that it belongs to."""

from __future__ import annotations

import base64
import binascii
from hashlib import blake2b

from oblixd.sessions.validation import invalid

_DIGEST_BYTES = 8


def page_token(query: bytes, place: bytes) -> str:
    """The token for a place in a query's result."""
    return base64.urlsafe_b64encode(_digest(query, place) + place).decode().rstrip("=")


def page_place(query: bytes, token: str) -> bytes:
    """The place that a token holds, empty for an empty token.

    InvalidArgumentError PAGE_TOKEN_INVALID where it is not one of this query's.
    """
    if not token:
        return b""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    digest, place = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
    if not place or digest != _digest(query, place):
        raise invalid(
            "PAGE_TOKEN_INVALID",
            "page_token",
            "is not one that this query gave. Send the same query again without one to start over.",
            given=token,
        )
    return place


def _digest(query: bytes, place: bytes) -> bytes:
    return blake2b(place, digest_size=_DIGEST_BYTES, key=blake2b(query, digest_size=32).digest()).digest()
