"""Options that take a number: one out of its range is wrong usage, as a word is."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from oblix.limits import MAX_TEMPERATURE, MAX_TIMEOUT_S, MAX_TOKENS

N = TypeVar("N", int, float)


def timeout(text: str) -> float:
    """Seconds, over 0 and at most a day. Raises argparse.ArgumentTypeError."""
    return _check_range(
        text, float, lambda value: 0 < value <= MAX_TIMEOUT_S, "seconds, over 0 and at most 86,400"
    )


def max_tokens(text: str) -> int:
    """Return a number of tokens that a model may write. Raises argparse.ArgumentTypeError."""
    return _check_range(
        text, int, lambda value: 1 <= value <= MAX_TOKENS, "a whole number from 1 to 1,000,000"
    )


def temperature(text: str) -> float:
    """Parse how freely a model writes. Raises argparse.ArgumentTypeError."""
    return _check_range(text, float, lambda value: 0 <= value <= MAX_TEMPERATURE, "a number from 0 to 2")


def max_cost(text: str) -> float:
    """Return what an answer may cost. Raises argparse.ArgumentTypeError."""
    return _check_range(text, float, lambda value: 0 <= value < float("inf"), "a number of 0 or more")


def _check_range(text: str, kind: Callable[[str], N], fits: Callable[[N], bool], limit: str) -> N:
    with suppress(ValueError):
        value = kind(text)
        if fits(value):
            return value
    raise argparse.ArgumentTypeError(f"takes {limit}; given: {text}")
