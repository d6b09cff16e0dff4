"""The end of usage that is older than it is kept."""

from __future__ import annotations

from functools import partial
from itertools import islice, takewhile

from oblixd.store import Store, Table, Transaction
from oblixd.usage.views import BY_MODEL, BY_PROGRAM, BY_SESSION, DAY_BYTES, HASH_BYTES, INNER, View, day_key

SWEPT_AT_ONCE = 100
"""Rows whose records one transaction removes, so that no writer waits long for it."""


async def sweep(store: Store, kept_from: int, counted_from: int) -> int:
    """Removes rows of days before one, and notes of counted requests of days before the other.

    Both as numbers of days. Says how many rows it were.
    """
    swept = 0
    for view in (BY_MODEL, BY_SESSION, BY_PROGRAM):
        while some := await store.write(partial(_sweep_rows, store.table("usage"), view, kept_from)):
            swept += some
    while await store.write(partial(_sweep_requests, store.table("usage_requests"), counted_from)):
        pass
    return swept


def _sweep_rows(table: Table, view: View, kept_from: int, txn: Transaction) -> int:
    end = view.prefix + day_key(kept_from)
    old = list(islice(takewhile(lambda key: key < end, table.keys(txn, view.prefix)), SWEPT_AT_ONCE))
    for key in old:
        if inner := INNER.get(view.prefix):
            # What the row tells by is what those are read by: their keys follow from its own.
            day, named = key[1:-HASH_BYTES], key[-HASH_BYTES:]
            table.delete_all(txn, inner.prefix + named + day)
        table.delete(txn, key)
    return len(old)


def _sweep_requests(table: Table, counted_from: int, txn: Transaction) -> int:
    end = day_key(counted_from)
    old = list(islice(takewhile(lambda key: key[:DAY_BYTES] < end, table.keys(txn, b"")), SWEPT_AT_ONCE))
    for key in old:
        table.delete(txn, key)
    return len(old)
