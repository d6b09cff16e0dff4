"""Caps on what may be spent in a day and in a month, and how far each is used up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Literal

from oblixd.errors import ResourceExhaustedError
from oblixd.usage.days import begin_of
from oblixd.usage.entries import NANO

Action = Literal["refuse", "local"]


@dataclass(frozen=True, slots=True)
class Caps:
    """What the configuration allows."""

    daily: float = 0.0
    """In the currency. 0: no cap."""
    monthly: float = 0.0
    action: Action = "refuse"
    """What becomes of a prompt once a cap is reached."""
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A cap, and how far it is used up."""

    period: Literal["day", "month"]
    limit: float
    spent_amount: float
    action: Action
    currency: str
    resets: datetime
    """When the next period begins, in the daemon's time zone."""

    @property
    def is_reached(self) -> bool:
        """Whether nothing more may be spent."""
        return self.spent_amount >= self.limit

    def error(self) -> ResourceExhaustedError:
        """Return what refuses a prompt."""
        return ResourceExhaustedError(
            "BUDGET_SPENT",
            f"{self.spent_amount:.2f} of {self.limit:.2f} {self.currency} are spent this {self.period}. "
            f"Wait until {self.resets:%Y-%m-%d %H:%M}, use a local model, or raise the cap in the [usage] "
            "section of the configuration.",
            period=self.period,
            limit=self.limit,
            spent=self.spent_amount,
            currency=self.currency,
            resets=self.resets.isoformat(),
        )


class Budgets:
    """Keeps in memory what was spent on each day, so that asking costs nothing."""

    def __init__(self, caps: Caps, zone: tzinfo | None = None) -> None:
        self.caps = caps
        self._zone = zone
        self._nano: Counter[date] = Counter()

    def spend(self, day: date, cost_nano: int) -> None:
        """Count what was spent, in billionths."""
        self._nano[day] += cost_nano
        oldest = day - timedelta(days=62)
        for old in [known for known in self._nano if known < oldest]:
            del self._nano[old]

    @property
    def are_set(self) -> bool:
        """Whether there is any cap."""
        return bool(self.caps.daily or self.caps.monthly)

    def states(self, today: date) -> Iterator[BudgetState]:
        """Return the state of each budget that is set, the day's first."""
        if self.caps.daily:
            yield self._state("day", self.caps.daily, self._nano[today], today + timedelta(days=1))
        if self.caps.monthly:
            month = sum(nano for day, nano in self._nano.items() if _month(day) == _month(today))
            yield self._state("month", self.caps.monthly, month, _next_month(today))

    def _state(self, period: Literal["day", "month"], limit: float, nano: int, next_: date) -> BudgetState:
        resets = begin_of(next_, self._zone)
        return BudgetState(period, limit, nano / NANO, self.caps.action, self.caps.currency, resets)


def _month(day: date) -> tuple[int, int]:
    return day.year, day.month


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
