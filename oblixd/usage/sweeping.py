"""The end of usage that is older than it is kept."""

from __future__ import annotations

from functools import partial
from itertools import islice, takewhile

from oblixd.store import Store, Table, Transaction
from oblixd.usage.views import day_key

SWEPT_AT_ONCE = 500
"""Records that one transaction removes, so that no writer waits long for it."""


async def sweep(store: Store, kept_from: int, counted_from: int) -> int:
    """Removes rows of days before one, and notes of counted requests of days before the other.

    Both as numbers of days. Says how many rows it were.
    """
    swept = await _sweep(store, store.table("usage"), day_key(kept_from))
    await _sweep(store, store.table("usage_requests"), day_key(counted_from))
    return swept


async def _sweep(store: Store, table: Table, end: bytes) -> int:
    swept = 0
    while some := await store.write(partial(_sweep_some, table, end)):
        swept += some
    return swept


def _sweep_some(table: Table, end: bytes, txn: Transaction) -> int:
    old = list(islice(takewhile(lambda key: key < end, table.keys(txn, b"")), SWEPT_AT_ONCE))
    for key in old:
        table.delete(txn, key)
    return len(old)
