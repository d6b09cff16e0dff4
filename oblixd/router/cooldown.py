"""Cooldown: a model that fails again and again is left alone for a while.

It is not taken out: it only goes behind the models that do not cool down. So the
last one is always tried, also when all of them cool down.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from oblixd.models import ModelError, ModelErrorKind

FAILURES = 3
"""So many failures within `WINDOW_S`, with no answer in between, and it cools down."""
WINDOW_S = 60.0
COOLDOWN_S = 30.0
MAX_COOLDOWN_S = 600.0
"""The most that a server's own Retry-After can make of it."""
_COUNTED = frozenset(
    {
        ModelErrorKind.UNREACHABLE,
        ModelErrorKind.RATE_LIMITED,
        ModelErrorKind.OVERLOADED,
        ModelErrorKind.BROKEN_STREAM,
        ModelErrorKind.STALLED,
        ModelErrorKind.FAILED,
    }
)
"""What says something of the model. The others say something of the request or of the key."""


@dataclass(slots=True)
class _Record:
    failures: deque[float] = field(default_factory=lambda: deque(maxlen=FAILURES))
    until: float = 0.0
    why: str = ""
    origin: str = ""
    kind: ModelErrorKind | None = None


@dataclass(frozen=True, slots=True)
class ActiveCooldown:
    """A model that is left alone."""

    left_s: float
    """For how many seconds more."""
    why: str
    """What it failed with last, for a person."""


class Cooldowns:
    """Who cools down, by the key of a hook. On the monotonic clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: dict[str, _Record] = {}

    def record_failure(self, key: str, error: ModelError, origin: str = "") -> None:
        """Hear of a failure of a model whose server is at `origin`."""
        if error.kind not in _COUNTED:
            return
        now = self._clock()
        record = self._records.setdefault(key, _Record())
        record.failures.append(now)
        record.origin, record.kind = origin, error.kind
        if error.retry_after_s is not None:
            self._begin(record, error, min(error.retry_after_s, MAX_COOLDOWN_S))
        elif len(record.failures) == FAILURES and record.failures[0] >= now - WINDOW_S:
            self._begin(record, error, COOLDOWN_S)

    def record_answer(self, key: str) -> None:
        """Hear of an answer: the failures before it no longer count."""
        self._records.pop(key, None)

    def clear_origin(self, origin: str) -> None:
        """Hear that a server can be reached again: that it could not says nothing of its models."""
        for key, record in list(self._records.items()):
            if record.origin == origin and record.kind is ModelErrorKind.UNREACHABLE:
                del self._records[key]

    def find(self, key: str) -> ActiveCooldown | None:
        """Return how a model cools down; None: it does not."""
        record = self._records.get(key)
        left_s = record.until - self._clock() if record is not None else 0.0
        return ActiveCooldown(left_s, record.why) if record is not None and left_s > 0 else None

    def _begin(self, record: _Record, error: ModelError, seconds: float) -> None:
        record.until, record.why = self._clock() + seconds, error.message
        record.failures.clear()
