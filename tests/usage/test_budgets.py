"""Caps: what was spent, when a cap is reached, and when the next period begins."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from support.drivers.conversations import store_in

from oblixd.errors import DataLossError
from oblixd.store import Store
from oblixd.store.inspection import DATA_FILE
from oblixd.usage import TABLE_NAMES, Caps, Usage, UsageEntry


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A time zone that changes its clocks."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@dataclass
class Clock:
    """A wall clock that is set by hand, in local time."""

    local: str

    def __call__(self) -> float:
        return datetime.fromisoformat(self.local).astimezone().timestamp()


def _entry(request_id: str, cost: float | None) -> UsageEntry:
    return UsageEntry(request_id, "openai:x", cost=cost)


async def _spent_amounts(usage: Usage) -> dict[str, float]:
    return {state.period: state.spent_amount for state in usage.budgets()}


async def test_a_cap_is_reached_when_all_of_it_is_spent(store: Store) -> None:
    usage = Usage(store, caps=Caps(daily=1.0))
    await usage.add(_entry("one", 0.75))
    assert usage.reached_budget() is None
    await usage.add(_entry("unpriced", None))
    await usage.add(_entry("two", 0.25))
    reached = usage.reached_budget()
    assert reached is not None
    error = reached.error()
    assert error.reason == "BUDGET_SPENT"
    assert error.metadata["spent"] == error.metadata["limit"] == "1.0"
    assert error.metadata["resets"] == reached.resets.isoformat()
    assert "1.00 of 1.00 USD are spent this day" in error.message


async def test_without_caps_nothing_is_reached(store: Store) -> None:
    usage = Usage(store)
    await usage.add(_entry("one", 1e6))
    assert (usage.budgets(), usage.reached_budget()) == ((), None)


async def test_the_longer_of_two_reached_caps_is_reported(store: Store) -> None:
    usage = Usage(store, caps=Caps(daily=1.0, monthly=1.0))
    await usage.add(_entry("one", 1.0))
    reached = usage.reached_budget()
    assert reached is not None
    assert reached.period == "month"


async def test_days_and_months_begin_anew_also_after_a_restart(store: Store, berlin: None) -> None:
    clock, caps = Clock("2026-01-30T12:00"), Caps(daily=9, monthly=9)
    usage = Usage(store, caps=caps, clock=clock)
    await usage.add(_entry("january", 1.0))
    clock.local = "2026-01-31T23:59:59"
    await usage.add(_entry("its last day", 2.0))
    for books in (usage, Usage(store, caps=caps, clock=clock)):
        assert await _spent_amounts(books) == {"day": 2.0, "month": 3.0}
    clock.local = "2026-02-01T00:00"
    for books in (usage, Usage(store, caps=caps, clock=clock)):
        assert await _spent_amounts(books) == {"day": 0.0, "month": 0.0}


@pytest.mark.parametrize(
    ("now", "hours"), [("2026-03-29T00:00", 23), ("2026-10-25T00:00", 25), ("2026-06-01T00:00", 24)]
)
async def test_a_day_ends_at_midnight_however_long_it_is(
    store: Store, berlin: None, now: str, hours: int
) -> None:
    clock = Clock(now)
    usage = Usage(store, caps=Caps(daily=1, monthly=1), clock=clock)
    day, month = usage.budgets()
    assert day.resets.timestamp() - clock() == hours * 3600
    assert (month.resets.day, month.resets.hour) == (1, 0)


async def test_the_hour_that_comes_twice_belongs_to_one_day(store: Store, berlin: None) -> None:
    """25 October 2026, 03:00 becomes 02:00: what is spent in either hour is of the same day."""
    first = datetime.fromisoformat("2026-10-25T02:30").astimezone().timestamp()
    for number, now in enumerate((first, first + 3600)):
        usage = Usage(store, caps=Caps(daily=9), clock=lambda now=now: now)
        await usage.add(_entry(f"{number}", 1.0))
    assert await _spent_amounts(usage) == {"day": 2.0}
    report = await usage.report()
    assert report.total.executions == 2


async def test_usage_of_a_client_that_leaves_is_counted(store: Store) -> None:
    usage = Usage(store, caps=Caps(daily=1.0))
    adding = asyncio.create_task(usage.add(_entry("one", 0.5)))
    await asyncio.sleep(0)
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    await store.write(lambda txn: None)
    assert await _spent_amounts(usage) == {"day": 0.5}
    assert (await usage.report()).total.cost == 0.5


async def test_a_damaged_row_stops_neither_the_start_nor_an_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with store_in(tmp_path / "damaged", TABLE_NAMES) as store:
        await Usage(store).add(_entry("one", 1.0))
    path = tmp_path / "damaged" / DATA_FILE
    path.write_bytes(path.read_bytes().replace(b"openai:x", b"openai:y"))
    async with store_in(tmp_path / "damaged", TABLE_NAMES) as store:
        usage = Usage(store, caps=Caps(daily=9))
        with pytest.raises(DataLossError):
            await usage.report()
        await usage.add(_entry("two", 2.0))
        assert await _spent_amounts(usage) == {"day": 2.0}
        assert (await usage.report()).total.cost == 2.0
    assert "a row of usage is lost" in caplog.text
