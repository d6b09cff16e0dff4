"""Reports: whatever was counted is in every grouping of them, once, also after a restart."""

from __future__ import annotations

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.drivers.conversations import store_in

from oblixd.errors import InvalidArgumentError
from oblixd.store import Store
from oblixd.store.inspection import DATA_FILE
from oblixd.usage import TABLE_NAMES, Group, Row, Usage, UsageEntry, reports
from oblixd.usage.tables import problems

TODAY = date(2026, 11, 22)
MODELS = st.sampled_from(["openai:a", "openai:b", "ollama:" + "long" * 200])


@dataclass(frozen=True)
class Dated:
    """An entry and the day that it is counted for."""

    day: date
    entry: UsageEntry


ENTRIES = st.builds(
    Dated,
    st.integers(0, 40).map(lambda ago: TODAY - timedelta(days=ago)),
    st.builds(
        UsageEntry,
        st.uuids().map(str),
        MODELS,
        st.sampled_from(["", "editor", "script"]),
        st.sampled_from(["", "s1", "s2", "s3"]),
        st.none() | st.integers(0, 2**40),
        st.none() | st.integers(0, 2**40),
        st.none() | st.floats(0, 1000),
    ),
)


class Clock:
    """Noon of a day."""

    day = TODAY

    def __call__(self) -> float:
        return datetime(self.day.year, self.day.month, self.day.day, 12).astimezone().timestamp()


async def _add_all(usage: Usage, clock: Clock, given_: Iterable[Dated]) -> None:
    for dated in given_:
        clock.day = dated.day
        await usage.add(dated.entry)
    clock.day = TODAY


def _expected_rows(given_: Iterable[Dated], key: Callable[[Dated], str]) -> dict[str, Row]:
    rows: dict[str, Row] = defaultdict(lambda: Row(""))
    for dated in given_:
        entry, row = dated.entry, rows[key(dated)]
        rows[key(dated)] = Row(
            key(dated),
            row.executions + 1,
            row.input_tokens + (entry.input_tokens or 0),
            row.output_tokens + (entry.output_tokens or 0),
            row.cost_nano + round((entry.cost or 0) * 1e9),
            row.unpriced_executions + (entry.cost is None),
        )
    return dict(rows)


KEYS: dict[Group, Callable[[Dated], str]] = {
    Group.MODEL: lambda dated: dated.entry.model,
    Group.DAY: lambda dated: dated.day.isoformat(),
    Group.PROGRAM: lambda dated: dated.entry.program,
    Group.SESSION: lambda dated: dated.entry.session_id,
}


async def _check(usage: Usage, given_: list[Dated], session_id: str, model: str) -> None:
    first = TODAY - timedelta(days=30)
    wanted = [
        dated
        for dated in given_
        if dated.day >= first
        and session_id in ("", dated.entry.session_id)
        and model in ("", dated.entry.model)
    ]
    total = _expected_rows(wanted, lambda _: "").get("", Row(""))
    for group, key in KEYS.items():
        report = await usage.report(first, TODAY, group, session_id, model)
        assert {row.key: row for row in report.rows} == _expected_rows(wanted, key)
        assert report.total == total


@settings(max_examples=25, deadline=None)
@given(st.lists(ENTRIES, max_size=25), st.sampled_from(["", "s1"]), st.sampled_from(["", "openai:a"]))
def test_every_grouping_has_every_entry_once(given_: list[Dated], session_id: str, model: str) -> None:
    async def run(directory: Path) -> None:
        async with store_in(directory, TABLE_NAMES) as store:
            clock = Clock()
            usage = Usage(store, clock=clock)
            await _add_all(usage, clock, given_)
            await _add_all(usage, clock, given_[:3])
            await _check(usage, given_, session_id, model)
        async with store_in(directory, TABLE_NAMES) as store:
            await _check(Usage(store, clock=Clock()), given_, session_id, model)
        assert list(problems(directory / DATA_FILE)) == []

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory)))


@pytest.mark.parametrize("at_once", [1, 7])
async def test_a_long_report_is_read_in_pieces(
    store: Store, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(reports, "READ_AT_ONCE", at_once)
    usage = Usage(store)
    for number in range(21):
        await usage.add(UsageEntry(f"r{number}", f"openai:{number}", cost=number))
    report = await usage.report()
    assert [row.key for row in report.rows] == [f"openai:{number}" for number in reversed(range(21))]
    assert report.total.executions == 21


async def test_rows_past_a_thousand_are_in_the_total(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MAX_ROWS", 2)
    usage = Usage(store)
    for number in range(3):
        await usage.add(UsageEntry(f"r{number}", "openai:x", session_id=f"s{number}", output_tokens=number))
    report = await usage.report(group=Group.SESSION)
    assert [row.key for row in report.rows] == ["s2", "s1"]
    assert report.total.executions == 3


async def test_many_who_add_at_once_lose_nothing(store: Store) -> None:
    usage = Usage(store)
    entry = UsageEntry("", "openai:x", cost=0.1)
    await asyncio.gather(*(usage.add(replace(entry, request_id=f"r{n % 100}")) for n in range(200)))
    report = await usage.report()
    assert (report.total.executions, report.total.cost) == (100, 10.0)


@pytest.mark.parametrize(("first", "last"), [(TODAY, date(2026, 11, 21)), (date(2020, 1, 1), TODAY)])
async def test_days_that_are_no_range_are_refused(store: Store, first: date, last: date) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await Usage(store).report(first, last)
    assert caught.value.reason == "INVALID_DAYS"


async def test_entries_older_than_the_retention_are_removed(store: Store) -> None:
    clock = Clock()
    usage = Usage(store, clock=clock)
    ages = [0, 399, 400, 401, 900]
    days = [TODAY - timedelta(days=age) for age in ages]
    await _add_all(usage, clock, [Dated(day, UsageEntry(f"r{day}", "openai:x", "p", "s")) for day in days])
    await usage.sweep()
    with store.read() as txn:
        left = {name: store.table(name).count(txn) for name in TABLE_NAMES}
    assert left == {"usage": 3 * 5, "usage_requests": 1}
    rows = (await usage.report(TODAY - timedelta(days=399), TODAY, Group.DAY, session_id="s")).rows
    assert [row.key for row in rows] == [days[1].isoformat(), days[0].isoformat()]


async def test_books_that_disagree_are_named(tmp_path: Path) -> None:
    async with store_in(tmp_path, TABLE_NAMES) as store:
        await Usage(store).add(UsageEntry("r", "openai:x"))
        await store.write(lambda txn: store.table("usage").delete_all(txn, b"", 1))
    assert list(problems(tmp_path / DATA_FILE)) == ["usage is not the same by model, program and session"]


async def test_books_that_are_gone_are_named(tmp_path: Path) -> None:
    async with store_in(tmp_path, ("usage",)):
        pass
    assert list(problems(tmp_path / DATA_FILE)) == ["the tables usage_requests are gone"]
