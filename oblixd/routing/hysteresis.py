"""From samples to states, calmly: a fold that remembers just enough not to flap.

Each value is held against its limits by a gate of its own. A gate opens when the
value has been beyond its limit for a while, and closes when it has been clear of
it by a margin for a longer while. The state is the worst that an open gate says.
Which values there are, and how calm each is, stands in `thresholds.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Sample(Protocol):
    """What was measured at one moment."""

    @property
    def time_s(self) -> float:
        """When, on a monotonic clock."""


S = TypeVar("S", bound=Sample)


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """How slowly a value's gates move."""

    smooth_s: float = 0.0
    """Time constant of the exponential mean that is held against the limit. 0: the value itself."""
    enter_s: float = 0.0
    """Seconds beyond the limit before the gate opens."""
    leave_s: float = 10.0
    """Seconds clear of it before the gate closes."""
    margin: float = 0.0
    """How far it has to be clear, in the value's unit."""
    margin_share: float = 0.0
    """The same, as a share of the limit."""


@dataclass(frozen=True, slots=True)
class Limit(Generic[S]):
    """One limit that one value is held against, and the state that being beyond it means."""

    name: str
    """The reading's name."""
    value: Callable[[S], float | None]
    at: float
    state: int
    calm: Hysteresis
    is_least: bool = False
    """Whether the bad side is below it, not above."""
    counts_at: bool = True
    """Whether a value that equals the limit is beyond it."""

    @property
    def clear_at(self) -> float:
        """What a value that was beyond it has to pass to be clear of it."""
        margin = self.calm.margin + self.calm.margin_share * self.at
        return self.at + margin if self.is_least else self.at - margin

    def is_beyond(self, value: float, at: float) -> bool:
        """Return whether a value is on the bad side of `at`."""
        return self.counts_at if value == at else (value < at) is self.is_least


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether one value counts as beyond one limit."""

    value: float | None = None
    """What was held against the limit, smoothed."""
    is_open: bool = False
    turning_s: float | None = None
    """Since when the value says otherwise."""

    def step(self, limit: Limit[S], sample: S, elapsed_s: float) -> Gate:
        """Return the gate after one more sample. An unknown value never degrades: it counts as clear."""
        value = self._smooth(limit, sample, elapsed_s)
        at = limit.clear_at if self.is_open else limit.at
        is_beyond = value is not None and limit.is_beyond(value, at)
        if is_beyond == self.is_open:
            return Gate(value, self.is_open)
        turning_s = sample.time_s if self.turning_s is None else self.turning_s
        wait_s = limit.calm.leave_s if self.is_open else self._hold_s(limit)
        if sample.time_s - turning_s >= wait_s:
            return Gate(value, is_beyond)
        return Gate(value, self.is_open, turning_s)

    def _smooth(self, limit: Limit[S], sample: S, elapsed_s: float) -> float | None:
        value = limit.value(sample)
        if value is None or not math.isfinite(value):
            return None
        if not limit.calm.smooth_s:
            return value
        # A mean begins at nothing: the first seconds are busy with what started us.
        kept = math.exp(-elapsed_s / limit.calm.smooth_s)
        return (self.value or 0.0) * kept + value * (1.0 - kept)

    def _hold_s(self, limit: Limit[S]) -> float:
        """Return how long to wait before opening.

        The first value of a level is believed; that of a rate is not, for it may be our own start. A limit
        of 0 asks for the state whatever the value is: there is nothing to be calm about.
        """
        is_first_level = self.value is None and not limit.calm.smooth_s
        return 0.0 if is_first_level or limit.at <= 0 else limit.calm.enter_s


@dataclass(frozen=True, slots=True)
class Held:
    """What is remembered from sample to sample."""

    state: int = 0
    """The worst that an open gate says; without one 1, the best; 0 while nothing is known."""
    since_s: float | None = None
    """Since when, on the samples' clock. None while nothing is known."""
    time_s: float | None = None
    """When the last sample was taken."""
    gates: tuple[Gate, ...] = ()
    """One for each limit."""


NOTHING = Held()
"""Before the first sample."""


def follow(history: Held, sample: S, limits: Sequence[Limit[S]]) -> Held:
    """Return the next step of the fold. A sample that is not newer than the last one changes nothing."""
    if history.time_s is not None and not sample.time_s > history.time_s:
        return history
    elapsed_s = 0.0 if history.time_s is None else sample.time_s - history.time_s
    before = history.gates or (Gate(),) * len(limits)
    gates = tuple(gate.step(limit, sample, elapsed_s) for gate, limit in zip(before, limits, strict=True))
    state = _state(limits, gates)
    since_s = history.since_s if state == history.state else sample.time_s
    return Held(state, since_s if state else None, sample.time_s, gates)


def _state(limits: Sequence[Limit[S]], gates: Sequence[Gate]) -> int:
    worst = max((limit.state for limit, gate in zip(limits, gates, strict=True) if gate.is_open), default=0)
    return worst or int(any(gate.value is not None for gate in gates))
