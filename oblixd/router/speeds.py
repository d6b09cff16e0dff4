"""How fast each model answered lately, and so how long its next answer would take.

The method: the time to the first token is a straight line over the prompt's
tokens, a start and so much for each token, fitted by least squares in which each
answer counts `DECAY` times as much as the one after it. Where the line would fall, or
all prompts were of one length, it is their mean. The seconds for each token of
the answer are a mean of the same weights. Nothing is kept on disk, and a model
that has not answered for an hour is unknown again, so that it is tried anew.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

DECAY = 0.8
"""What an answer still counts after the next one: the last five make two thirds of the estimate."""
EXPIRY_S = 3600.0
MODELS = 1000
"""Models whose speed is remembered."""
LARGEST = 1e9
MIN_VARIANCE = 1.0
"""Variance of the prompts' tokens below which they are of one length."""


@dataclass(slots=True)
class _Speed:
    """Decayed sums over a model's answers: of prompts (x), first tokens (y), and seconds for each token."""

    answered_s: float = 0.0
    last_s: float = 0.0
    """The last answer's first token."""
    n: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    tokens_n: float = 0.0
    token_s: float = 0.0

    def add(self, x: float, y: float, token_s: float | None) -> None:
        """Take in one more answer."""
        for name, value in (("n", 1.0), ("x", x), ("y", y), ("xx", x * x), ("xy", x * y)):
            setattr(self, name, getattr(self, name) * DECAY + value)
        if token_s is not None:
            self.tokens_n = self.tokens_n * DECAY + 1.0
            self.token_s = self.token_s * DECAY + token_s

    def first_token_s(self, x: float) -> float:
        """Return the line at `x` prompt tokens."""
        mean_x, mean_y = self.x / self.n, self.y / self.n
        variance = self.xx / self.n - mean_x * mean_x
        slope = (self.xy / self.n - mean_x * mean_y) / variance if variance > MIN_VARIANCE else 0.0
        return max(0.0, mean_y + max(0.0, slope) * (x - mean_x))

    def seconds_per_token(self) -> float:
        """Seconds for each token of the answer; 0 where no answer showed it."""
        return self.token_s / self.tokens_n if self.tokens_n else 0.0


class Speeds:
    """The speed of each model at its server. On the monotonic clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._speeds: OrderedDict[str, _Speed] = OrderedDict()

    def record(
        self, key: str, prompt_tokens: float, first_token_s: float, tokens_per_second: float | None
    ) -> None:
        """Hear of an answer: what it read, when it began, and how fast it came (None or 0: not known)."""
        if not (_is_plausible(prompt_tokens) and _is_plausible(first_token_s)):
            return
        speed = self._recent(key) or _Speed()
        speed.add(prompt_tokens, first_token_s, _seconds_per_token(tokens_per_second or 0.0))
        speed.answered_s, speed.last_s = self._clock(), first_token_s
        self._speeds[key] = speed
        self._speeds.move_to_end(key)
        if len(self._speeds) > MODELS:
            self._speeds.popitem(last=False)

    def estimate(self, key: str, prompt_tokens: float, answer_tokens: float) -> float | None:
        """Seconds until an answer would be whole; None where the model has not answered lately."""
        speed = self._recent(key)
        if speed is None:
            return None
        return speed.first_token_s(prompt_tokens) + answer_tokens * speed.seconds_per_token()

    def tokens_per_second(self, key: str) -> float | None:
        """Return how fast its answers came lately; None if that is unknown."""
        speed = self._recent(key)
        each_s = speed.seconds_per_token() if speed is not None else 0.0
        return 1.0 / each_s if each_s else None

    def last_first_token_s(self, key: str) -> float | None:
        """Seconds to the first token of its last answer; None where it has not answered lately."""
        speed = self._recent(key)
        return speed.last_s if speed is not None else None

    def _recent(self, key: str) -> _Speed | None:
        speed = self._speeds.get(key)
        is_old = speed is not None and self._clock() - speed.answered_s > EXPIRY_S
        return None if is_old else speed


def _seconds_per_token(tokens_per_second: float) -> float | None:
    return 1.0 / tokens_per_second if 1.0 / LARGEST <= tokens_per_second <= LARGEST else None


def _is_plausible(value: float) -> bool:
    """Return whether a number can be of tokens or seconds; nan and absurd numbers can't."""
    return 0.0 <= value <= LARGEST
