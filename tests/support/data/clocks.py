"""A clock that tests set."""

from __future__ import annotations

DAY_US = 24 * 3600 * 1_000_000


class Clock:
    """The wall clock, in microseconds; it stands still."""

    def __init__(self) -> None:
        self.now = 1_000_000_000_000_000

    def __call__(self) -> int:
        return self.now

    def pass_days(self, days: float) -> None:
        self.now += round(days * DAY_US)
