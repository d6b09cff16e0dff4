"""Whether an endpoint can be reached: one hiccup is not offline, one success is not the end of a bad line.

    successes and failures, in order of their weight      counts as
    -----------------------------------------------------------------------------
    the system has no route there                         unreachable, at once
    a real request was answered                           reachable, at once
    a real request met a web page instead of the server   unreachable, at once, for at least 60 s of probes
    2 failures in a row, of requests or probes            unreachable, but for 10 s after a real answer
    a connection came about                               reachable; of one that was lost n times in the last
                                                          5 minutes n in a row, 5 at most

Times are seconds of any clock that does not go back.
"""

from __future__ import annotations

import time
from collections import deque

MISSES = 2
"""Failures in a row that make an endpoint unreachable."""
MOST_HITS = 5
"""Successes in a row that one which is lost again and again needs, at most."""
FLAPPING_S = 300.0
"""For so long a loss is held against it."""
ANSWER_HOLD_S = 10.0
"""For so long a real answer outranks failing probes."""
BARRED_S = 60.0
"""For so long a web page in place of an answer outranks probes that connect well."""
_NEVER_S = float("-inf")


class Reachability:
    """Reachable, unreachable or unknown (None), with hysteresis."""

    def __init__(self) -> None:
        self.reachable: bool | None = None
        self.reason = ""
        """Why it is unreachable, for a person."""
        self.since_s: float | None = None
        """Since when `reachable` is as it is, in seconds since the epoch. None while it is unknown."""
        self._losses: deque[float] = deque(maxlen=MOST_HITS)
        self._answered_s = self._barred_s = _NEVER_S
        self._hits = self._misses = 0

    @property
    def is_in_doubt(self) -> bool:
        """Whether the last attempt failed, and one more would decide."""
        return 0 < self._misses < MISSES and self.reachable is not False

    def answered(self, now_s: float) -> None:
        """Note that a real request was answered."""
        self._answered_s, self._barred_s, self._misses = now_s, _NEVER_S, 0
        self._become(True)

    def connected(self, now_s: float) -> None:
        """Note that a connection was made, a request's or a probe's."""
        self._hits, self._misses = self._hits + 1, 0
        is_barred = now_s - self._barred_s < BARRED_S
        if not is_barred and self._hits >= self._hits_needed(now_s):
            self._become(True)

    def failed(self, now_s: float, why: str, *, is_real: bool) -> None:
        """No connection came about; `is_real`: for a request, not for a probe."""
        self._hits, self._misses = 0, self._misses + 1
        if is_real:
            self._answered_s = _NEVER_S
        if self._misses >= MISSES and now_s - self._answered_s >= ANSWER_HOLD_S:
            self._lose(now_s, why)

    def barred(self, now_s: float, why: str) -> None:
        """Note that something else answered in the server's place, for example a captive portal."""
        self._barred_s, self._answered_s, self._hits = now_s, _NEVER_S, 0
        self._lose(now_s, why)

    def cut(self, now_s: float, why: str) -> None:
        """Note that the system has no route there."""
        self._answered_s, self._hits = _NEVER_S, 0
        self._lose(now_s, why)

    def forget(self) -> None:
        """Know nothing, but for how often it was lost."""
        self._answered_s = self._barred_s = _NEVER_S
        self._hits = self._misses = 0
        self._become(None)

    def _hits_needed(self, now_s: float) -> int:
        return max(1, sum(now_s - lost_s < FLAPPING_S for lost_s in self._losses))

    def _lose(self, now_s: float, why: str) -> None:
        if self.reachable is not False:
            self._losses.append(now_s)
        self._become(False, why)

    def _become(self, reachable: bool | None, reason: str = "") -> None:
        if reachable is not self.reachable:
            self.since_s = None if reachable is None else time.time()
        self.reachable, self.reason = reachable, reason
