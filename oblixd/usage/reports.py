"""Reports: the rows of some days, summed up by what is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import islice

from oblixd.errors import invalid_argument
from oblixd.store import Store, Transaction
from oblixd.store.v1 import records_pb2 as records
from oblixd.usage.entries import Group, Report, Row
from oblixd.usage.tables import BY_MODEL, BY_PROGRAM, BY_SESSION, IN_SESSION, OF_MODEL, View, day_of

MAX_ROWS = 1000
MAX_DAYS = 400
READ_AT_ONCE = 500
"""Records that one read takes, so that the event loop is soon free again."""

_ALL = {
    Group.MODEL: BY_MODEL,
    Group.DAY: BY_MODEL,
    Group.PROGRAM: BY_PROGRAM,
    Group.SESSION: BY_SESSION,
}


@dataclass(frozen=True, slots=True)
class Query:
    """What a report is to be about."""

    first_day: date
    last_day: date
    group: Group = Group.MODEL
    session_id: str = ""
    """Only this session's. Empty: all."""
    model: str = ""
    """Only this model's. Empty: all."""

    @property
    def view(self) -> View:
        """The view with the fewest rows that can tell it."""
        if self.session_id:
            return IN_SESSION
        if self.model and self.group in {Group.PROGRAM, Group.SESSION}:
            return OF_MODEL
        return BY_MODEL if self.model else _ALL[self.group]

    def key(self, day: date, record: records.ConsumptionRecord) -> str:
        """Return the row that a record belongs to."""
        if self.group is Group.DAY:
            return day.isoformat()
        named = {Group.SESSION: self.session_id, Group.MODEL: self.model}
        return named.get(self.group) or str(getattr(record, self.group.value))

    def admits(self, record: records.ConsumptionRecord) -> bool:
        """Return whether a record of the view is asked for."""
        return not self.model or self.view is OF_MODEL or record.model == self.model


async def report(store: Store, query: Query) -> Report:
    """Sum up the days, in short reads. InvalidArgumentError where they are no range of at most 400."""
    _check(query)
    rows: dict[str, Row] = {}
    total, place = Row(""), b""
    while True:
        with store.read() as txn:
            some = list(islice(_scan(store, txn, query, place), READ_AT_ONCE))
        for key, payload in some:
            record = records.ConsumptionRecord.FromString(payload)
            if query.admits(record):
                name = query.key(date.fromordinal(day_of(key)), record)
                rows[name] = rows.get(name, Row(name)).plus(record)
                total = total.plus(record)
        if len(some) < READ_AT_ONCE:
            return Report(_sort(query.group, rows), total)
        place = some[-1][0] + b"\0"
        await asyncio.sleep(0)


def _check(query: Query) -> None:
    days = (query.last_day - query.first_day).days + 1
    if not 1 <= days <= MAX_DAYS:
        raise invalid_argument(
            "INVALID_DAYS",
            f"first_day and last_day must name 1 to {MAX_DAYS} days, the first one first, not {days}.",
            field="last_day",
            limit=f"1 to {MAX_DAYS}",
            given=days,
        )


def _scan(store: Store, txn: Transaction, query: Query, key: bytes) -> Iterator[tuple[bytes, bytes]]:
    view = query.view
    named = query.session_id if view is IN_SESSION else query.model
    first = max(query.first_day.toordinal(), day_of(key))
    for day in range(first, query.last_day.toordinal() + 1):
        yield from store.table("usage").scan(txn, view.rows(day, named), key)


def _sort(group: Group, rows: dict[str, Row]) -> list[Row]:
    if group is Group.DAY:
        return [rows[name] for name in sorted(rows)]

    def weight(row: Row) -> tuple[int, int, str]:
        return -row.cost_nano, -(row.input_tokens + row.output_tokens), row.key

    return sorted(rows.values(), key=weight)[:MAX_ROWS]
