"""Vectors as the test servers make them: the same text always gets the same one, texts that share words
similar ones."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

from oblix.testing.answers import tokens

DIMENSIONS = 64
"""Numbers of a vector, where a request does not say."""


def vector_of(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Count a text's words in so many places, and give the vector the length 1."""
    counts = [0.0] * dimensions
    for word in text.lower().split() or [text]:
        counts[hashlib.sha256(word.strip(".,!?").encode()).digest()[0] % dimensions] += 1.0
    length = math.sqrt(sum(count * count for count in counts))
    return [count / length for count in counts]


def texts_of(request: dict[str, Any]) -> Sequence[str]:
    """Return the texts of a request: `input` is one or a list of them."""
    given = request["input"]
    return [given] if isinstance(given, str) else given


def vectors_of(request: dict[str, Any]) -> list[list[float]]:
    """Return the vectors of a request."""
    dimensions = request.get("dimensions") or DIMENSIONS
    return [vector_of(text, dimensions) for text in texts_of(request)]


def tokens_of(request: dict[str, Any]) -> int:
    """Return the tokens of a request's texts: its words."""
    return sum(len(tokens(text)) for text in texts_of(request))
