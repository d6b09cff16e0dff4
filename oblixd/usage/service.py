"""Usage, as the other packages see it.

The end of usage that is older than it is kept.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import date, timedelta, tzinfo
from functools import partial
from itertools import islice, takewhile

from oblixd.errors import DataLossError, OblixdError
from oblixd.store import Store, Table, Transaction
from oblixd.store.v1 import records_pb2 as records
from oblixd.usage.budgets import Budgets, BudgetState, Caps
from oblixd.usage.days import day_at
from oblixd.usage.entries import Group, Report, UsageEntry, add, nano_of
from oblixd.usage.prices import Price, Prices
from oblixd.usage.reports import Query, report
from oblixd.usage.tables import BY_MODEL, VIEWS, day_key

SWEPT_AT_ONCE = 500
"""Records that one transaction removes, so that no writer waits long for it."""


async def sweep(store: Store, first_kept_day: int, first_counted_day: int) -> int:
    """Remove rows of days before one, and notes of counted requests of days before the other.

    Both as numbers of days. Says how many rows it were.
    """
    swept = await _sweep(store, store.table("usage"), day_key(first_kept_day))
    await _sweep(store, store.table("usage_requests"), day_key(first_counted_day))
    return swept


async def _sweep(store: Store, table: Table, end: bytes) -> int:
    swept = 0
    while some := await store.write(partial(_sweep_some, table, end), frees=True):
        swept += some
    return swept


def _sweep_some(table: Table, end: bytes, txn: Transaction) -> int:
    old = list(islice(takewhile(lambda key: key < end, table.keys(txn, b"")), SWEPT_AT_ONCE))
    for key in old:
        table.delete(txn, key)
    return len(old)


logger = logging.getLogger(__name__)

KEPT_DAYS = 400
COUNTED_DAYS = 2
"""For how long a request id is known as counted; longer than any call that is sent again takes."""
DEFAULT_DAYS = 30
PAUSE_S = 3600.0


class Counting:
    """The count of one execution. Its request id is counted once, however often this is written."""

    def __init__(self, store: Store, budgets: Budgets, day: date, entry: UsageEntry) -> None:
        self._store = store
        self._budgets = budgets
        self._day = day
        self._entry = entry
        self._is_new = False

    def write(self, txn: Transaction) -> None:
        """Count it inside a transaction, which may be repeated. Call `after_commit` once that is durable."""
        number, request = self._day.toordinal(), self._entry.request_id.encode()
        requests = self._store.table("usage_requests")
        near = range(number - COUNTED_DAYS, number + COUNTED_DAYS)
        self._is_new = all(requests.get(txn, day_key(other) + request) is None for other in near)
        if self._is_new:
            requests.put(txn, day_key(number) + request, b"")
            self._add_to_views(txn, number)

    def after_commit(self) -> None:
        """Take it off the budgets, too."""
        if self._is_new:
            self._budgets.spend(self._day, nano_of(self._entry))

    def settle(self, done: asyncio.Future[None]) -> None:
        """Hear how the write ended."""
        if not done.cancelled() and done.exception() is None:
            self.after_commit()

    def _add_to_views(self, txn: Transaction, day: int) -> None:
        table = self._store.table("usage")
        for view in VIEWS:
            key = view.key(day, self._entry)
            record = view.record(self._entry)
            record.MergeFromString(_row(txn, table, key))
            add(record, self._entry)
            table.put(txn, key, record.SerializeToString())


def _row(txn: Transaction, table: Table, key: bytes) -> bytes:
    """Read a row. A damaged one is empty: no prompt may fail because of other prompts' counts."""
    try:
        return table.get(txn, key) or b""
    except DataLossError:
        logger.exception("a row of usage is lost, and is counted from nothing")
        return b""


class Usage:
    """Counts what executions use. Made on the event loop, after the store was opened.

    Days are those of one time zone.
    """

    def __init__(
        self,
        store: Store,
        prices: Prices | None = None,
        caps: Caps | None = None,
        clock: Callable[[], float] = time.time,
        zone: tzinfo | None = None,
    ) -> None:
        """`clock`: seconds since 1970. `zone`: whose days count; None: the process's own."""
        self._store = store
        self._prices = prices or Prices()
        self._zone = zone
        self._budgets = Budgets(caps or Caps(), zone)
        self._clock = clock
        self._read_spent()

    def configure(self, prices: Prices, caps: Caps) -> None:
        """Count by other prices and caps from now on. What was spent stays spent."""
        self._prices = prices
        self._budgets.caps = caps

    @property
    def currency(self) -> str:
        """The currency of all costs."""
        return self._budgets.caps.currency

    def price(self, model: str, *, is_local: bool = False) -> Price | None:
        """Return the price of a model (provider:name). None: it is not configured. Local ones are free."""
        return self._prices.of(model, is_local=is_local)

    def cost(
        self,
        model: str,
        input_tokens: int | None,
        output_tokens: int | None,
        *,
        cache_read_tokens: int = 0,
        cache_write_tokens: int = 0,
        is_local: bool = False,
        own: Price | None = None,
    ) -> float | None:
        """Return the cost of an answer. None: there is no price, or the server did not count its tokens.

        `own`: the price that the model was hooked with, which goes before the configuration's.
        """
        price = own or self.price(model, is_local=is_local)
        if price is None:
            return None
        if price.is_free:
            return 0.0
        if input_tokens is None or output_tokens is None:
            return None
        return price.cost(input_tokens, output_tokens, cache_read_tokens, cache_write_tokens)

    async def add(self, entry: UsageEntry, *, gathers: bool = False) -> None:
        """Count an execution, durably. Its request id is counted once, however often it is added.

        Carried out also when the caller is cancelled meanwhile. `gathers`: see `Store.write`.
        """
        counting = self.counting(entry)
        writing = self._store.write(counting.write, gathers=gathers)
        writing.add_done_callback(counting.settle)
        await asyncio.shield(writing)

    def counting(self, entry: UsageEntry) -> Counting:
        """Return the count of an execution, for somebody who writes it together with its answer."""
        return Counting(self._store, self._budgets, self.today(), entry)

    async def report(
        self,
        first_day: date | None = None,
        last_day: date | None = None,
        group: Group = Group.MODEL,
        session_id: str = "",
        model: str = "",
    ) -> Report:
        """Sum up days, by default the last 30 and today. InvalidArgumentError INVALID_DAYS."""
        last = last_day or self.today()
        first = first_day or last - timedelta(days=DEFAULT_DAYS)
        return await report(self._store, Query(first, last, group, session_id, model))

    def budgets(self) -> tuple[BudgetState, ...]:
        """Return each budget that is set, and how far it is used up now."""
        return tuple(self._budgets.states(self.today())) if self._budgets.are_set else ()

    def reached_budget(self) -> BudgetState | None:
        """Return the cap that is used up, of two the one that lasts longer. None: there is room in all."""
        return next((state for state in reversed(self.budgets()) if state.is_reached), None)

    async def keep_up(self) -> None:
        """Delete what is older than 400 days in the background, every hour until cancelled."""
        while True:
            try:
                await self.sweep()
            except OblixdError as error:
                logger.warning("old usage could not be removed: %s It is tried again later.", error.message)
            await asyncio.sleep(PAUSE_S)

    async def sweep(self) -> None:
        """Remove what is older than 400 days."""
        today = self.today().toordinal()
        if swept := await sweep(self._store, today - KEPT_DAYS, today - COUNTED_DAYS):
            logger.info("usage: %d rows older than %d days are gone", swept, KEPT_DAYS)

    def today(self) -> date:
        """Return the day that it is now."""
        return day_at(self._clock(), self._zone)

    def _read_spent(self) -> None:
        """Sum up what was spent this month, from its rows: one a model and day."""
        today, table = self.today(), self._store.table("usage")
        with self._store.read() as txn:
            for day in range(today.replace(day=1).toordinal(), today.toordinal() + 1):
                for key in table.keys(txn, BY_MODEL.rows(day)):
                    record = records.ConsumptionRecord.FromString(_row(txn, table, key))
                    self._budgets.spend(date.fromordinal(day), record.cost_nano)
