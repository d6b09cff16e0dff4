"""One model server: how well it is reached, and when to probe again."""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Iterator

from oblixd.monitor.network.metrics import FEWEST_CONNECTS, NetworkMetrics, median
from oblixd.monitor.network.reachability import Reachability
from oblixd.monitor.network.routes import Route
from oblixd.monitor.snapshot import Connectivity

STALE_S = 120.0
"""After so long without evidence (four default check intervals) nothing is known but by the system itself."""
STALE_INTERVALS = 4.0
"""The same, where the check interval is longer."""
BRISK_PAUSE_S, BRISK_PROBES = 1.0, 10
"""Between two probes in times of trouble; after so many it doubles, up to the check interval."""
CALM_CONNECTS, CALM_LOSS_PERCENT = 5, 10.0
"""Trouble is over after so many usual connect times in a row, and with no more loss than this."""
SLOW_FACTOR, SLOW_MS = 2.0, 100.0
"""An answer whose head is later than usual by both is reason for a probe: it may be the network."""
SPREAD = 0.1
"""Looks come up to this share earlier or later, so that they fall into no step with anything."""
WAITS = 5
"""Answers that tell what is usual."""
_LONGEST_DOUBLING = 16


class Endpoint:
    """Takes evidence with its time and gives figures. Bounded, however much goes in; asks nobody itself.

    Times are seconds of a clock that counts while the machine sleeps, too.
    """

    def __init__(self, check_interval_s: float) -> None:
        self.route: Route | None = None
        """The route that the evidence is of; None while there is none."""
        self._check_interval_s = check_interval_s
        self._figures = NetworkMetrics()
        self._reach = Reachability()
        self._heard_s: float | None = None
        self._is_cut = False
        self._tried_s = float("-inf")
        self._looks = 0
        """Looks since there is trouble; 0: there is none."""
        self._usual = CALM_CONNECTS - FEWEST_CONNECTS
        """Usual connect times in a row."""
        self._waits: deque[float] = deque(maxlen=WAITS)
        self._spread = 1.0

    @property
    def reachable(self) -> bool | None:
        """As the evidence has it, however old that is; `view` knows better."""
        return self._reach.reachable

    @property
    def reason(self) -> str:
        """Why it can't be reached, for a person. Empty where it can, or where nothing is known."""
        return self._reach.reason

    @property
    def is_in_doubt(self) -> bool:
        """Whether the last attempt failed, and one more would decide."""
        return self._reach.is_in_doubt

    def connected(self, now_s: float, connect_ms: float) -> None:
        """Note that a connection was made within so many milliseconds."""
        is_usual = self._figures.is_usual(now_s, connect_ms)
        self._figures.attempted(now_s, connect_ms)
        with self._forgive_on_return():
            self._reach.connected(now_s)
        self._tried(now_s, is_good=is_usual and self._reach.reachable is True)

    def answered(self, now_s: float, first_byte_ms: float) -> None:
        """Note that a real request was answered: its head came after so many milliseconds."""
        if self._is_slow(first_byte_ms) and not self._looks:
            self._looks, self._usual = 1, CALM_CONNECTS - 1
        self._waits.append(first_byte_ms)
        with self._forgive_on_return():
            self._reach.answered(now_s)
        self._heard_s, self._is_cut = now_s, False

    def failed(self, now_s: float, why: str, *, is_real: bool = False) -> None:
        """No connection came about; `is_real`: for a request, not for a probe."""
        self._figures.attempted(now_s, None)
        self._reach.failed(now_s, why, is_real=is_real)
        self._tried(now_s, is_good=False)

    def barred(self, now_s: float, why: str) -> None:
        """Note that something else answered in the server's place, for example a captive portal."""
        self._reach.barred(now_s, why)
        self._tried(now_s, is_good=False)

    def cut(self, now_s: float, why: str) -> None:
        """Note that the system has no route there: that needs no attempt."""
        self._reach.cut(now_s, why)
        self._tried(now_s, is_good=False)
        self.route, self._is_cut = None, True

    def carried(self, now_s: float, size: int, seconds: float) -> None:
        """So many bytes were transferred within so many seconds."""
        self._figures.carried(now_s, size, seconds)

    def forget(self, route: Route | None) -> None:
        """Begin anew, on this route: it is another network, or the machine slept."""
        self._figures = NetworkMetrics()
        self._reach.forget()
        self._heard_s, self._tried_s, self._is_cut = None, float("-inf"), False
        self._looks, self._usual = 0, CALM_CONNECTS - FEWEST_CONNECTS
        self._waits.clear()
        self.route = route

    def due_s(self) -> float:
        """Return when to probe next if nothing is heard before."""
        if self._heard_s is None:
            return float("-inf")
        if self._looks:
            doublings = min(max(0, self._looks - BRISK_PROBES), _LONGEST_DOUBLING)
            return self._tried_s + min(BRISK_PAUSE_S * 2.0**doublings, self._check_interval_s) * self._spread
        # Requests on kept connections show no connect time, so they do not put this off.
        return self._tried_s + self._check_interval_s * self._spread

    def view(self, now_s: float) -> Connectivity:
        """Return what is known now. Stale values are unknown, except a missing route."""
        if self._heard_s is None or self._is_stale(now_s):
            return Connectivity(connection_type=self.route.kind if self.route else "")
        reach, figures = self._reach, self._figures
        return Connectivity(
            reachable=reach.reachable,
            latency_ms=figures.latency_ms(now_s),
            packet_loss_percent=figures.loss_percent(now_s),
            bandwidth_mbps=figures.bandwidth_mbps(now_s),
            jitter_ms=figures.jitter_ms(now_s),
            connection_type=self._kind(),
            age_s=now_s - self._heard_s,
            reason=reach.reason,
            since_s=reach.since_s,
        )

    def _kind(self) -> str:
        if self._is_cut:
            return "none"
        return self.route.kind if self.route else ""

    def _is_slow(self, first_byte_ms: float) -> bool:
        usual_ms = median(self._waits) if self._waits else first_byte_ms
        return first_byte_ms > max(usual_ms * SLOW_FACTOR, usual_ms + SLOW_MS)

    def _is_stale(self, now_s: float) -> bool:
        heard_s = self._heard_s or 0.0
        lasting_s = max(STALE_S, STALE_INTERVALS * self._check_interval_s)
        return not self._is_cut and now_s - heard_s > lasting_s

    @contextlib.contextmanager
    def _forgive_on_return(self) -> Iterator[None]:
        was_lost = self._reach.reachable is False
        yield
        if was_lost and self._reach.reachable:
            self._figures.forgive()

    def _tried(self, now_s: float, *, is_good: bool) -> None:
        self._heard_s = self._tried_s = now_s
        self._is_cut = False
        self._usual = self._usual + 1 if is_good else 0
        is_lossy = (self._figures.loss_percent(now_s) or 0.0) > CALM_LOSS_PERCENT
        if self._usual >= CALM_CONNECTS and not is_lossy:
            self._looks = 0
        elif self._usual == CALM_CONNECTS:
            # It seems to be over: soon known for sure.
            self._looks = 1
        else:
            self._looks += 1
        self._spread = random.uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311 - spread, not secrecy
