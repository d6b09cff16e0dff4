"""Latency, jitter, loss and bandwidth of the route to one endpoint, out of the last few observations.

Evidence goes in with its time, numbers come out; there is no clock and no socket
in here. Times are seconds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from itertools import pairwise

WINDOW_S = 600.0
"""What is older counts no more."""
ATTEMPTS = 10
"""Connection attempts that loss is told from; from fewer none is told. One failure among them is 10 %: a
hiccup is not beyond the default threshold, which is above 10 %."""
CONNECTS = 5
"""Connect times that latency and jitter are told from: the median moves when three of them agree."""
FEWEST_CONNECTS = 3
"""From fewer none is told: the first connection on a new route may be slow for reasons that pass."""
TRANSFERS = 10
BULK_BYTES = 1_000_000
"""A smaller transfer says nothing of bandwidth."""
USUAL_FACTOR, USUAL_MS = 2.0, 20.0
"""A connect time is usual within this factor, or this difference, of the median."""


class NetworkMetrics:
    """The last observations. None is unknown."""

    def __init__(self) -> None:
        self._attempts: deque[tuple[float, float | None]] = deque(maxlen=ATTEMPTS)
        self._transfers: deque[tuple[float, float]] = deque(maxlen=TRANSFERS)

    def attempted(self, now_s: float, connect_ms: float | None) -> None:
        """Note a connection attempt; `connect_ms` None is a failed one."""
        self._attempts.append((now_s, connect_ms))

    def carried(self, now_s: float, size: int, seconds: float) -> None:
        """Note a transfer of so many bytes. One that is too small to tell is ignored."""
        if size >= BULK_BYTES and seconds > 0:
            self._transfers.append((now_s, size * 8e-6 / seconds))

    def forgive(self) -> None:
        """Forget the failures: an outage that is over is no loss."""
        kept = [attempt for attempt in self._attempts if attempt[1] is not None]
        self._attempts = deque(kept, maxlen=ATTEMPTS)

    def latency_ms(self, now_s: float) -> float | None:
        """Return the median of the last connect times."""
        times = self._connect_times(now_s)
        return median(times) if len(times) >= FEWEST_CONNECTS else None

    def jitter_ms(self, now_s: float) -> float | None:
        """Return the mean difference between one connect time and the next: RFC 3550, 6.4.1, unsmoothed."""
        times = self._connect_times(now_s)
        differences = [abs(after - before) for before, after in pairwise(times)]
        return math.fsum(differences) / len(differences) if len(times) >= FEWEST_CONNECTS else None

    def loss_percent(self, now_s: float) -> float | None:
        """Return the share of failed connection attempts, 0 to 100."""
        recent = [ms for at_s, ms in self._attempts if now_s - at_s <= WINDOW_S]
        return 100.0 * recent.count(None) / ATTEMPTS if len(recent) == ATTEMPTS else None

    def bandwidth_mbps(self, now_s: float) -> float | None:
        """Return the best rate of the last bulk transfers: slower ones had another cause, too."""
        return max((mbps for at_s, mbps in self._transfers if now_s - at_s <= WINDOW_S), default=None)

    def is_usual(self, now_s: float, connect_ms: float) -> bool:
        """Return whether a connect time is about what the median says."""
        usual_ms = self.latency_ms(now_s)
        if usual_ms is None:
            return True
        low_ms, high_ms = sorted((usual_ms, connect_ms))
        return high_ms <= low_ms * USUAL_FACTOR or high_ms - low_ms <= USUAL_MS

    def _connect_times(self, now_s: float) -> list[float]:
        times = [ms for at_s, ms in self._attempts if ms is not None and now_s - at_s <= WINDOW_S]
        return times[-CONNECTS:]


def median(values: Iterable[float]) -> float:
    """Return the median of at least one value. The module `statistics` would take 0.6 MB for this alone."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
