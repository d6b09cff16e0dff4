"""Sweeps what nobody sees: messages of deleted sessions, and what was built and never published."""

from __future__ import annotations

from functools import partial

from oblixd.sessions.ledger import Ledger
from oblixd.sessions.tables import number_key
from oblixd.store import Transaction

SWEPT_AT_ONCE = 500
"""Records that one transaction removes, so that no writer waits long for it."""


def sweep(ledger: Ledger, number: int) -> None:
    """Removes what is kept under a number, bit by bit, when nothing else is to be written."""
    ledger.store.write_idle(partial(sweep_some, ledger, number))


def sweep_some(ledger: Ledger, number: int, txn: Transaction) -> bool:
    """One step of a sweep. True while there is more. Touches nothing that is not marked as garbage."""
    key = number_key(number)
    if ledger.tables.garbage.get(txn, key) is None:
        return False
    for table in (ledger.tables.messages, ledger.tables.versions, ledger.tables.pieces):
        if table.delete_all(txn, key, SWEPT_AT_ONCE) == SWEPT_AT_ONCE:
            return True
    if ledger.requests.forget(txn, number, SWEPT_AT_ONCE):
        return True
    ledger.tables.garbage.delete(txn, key)
    return False


def sweep_leftovers(ledger: Ledger) -> None:
    """Sweeps what the daemon before did not come to. Called before anything new is built."""
    with ledger.store.read() as txn:
        leftovers = [int.from_bytes(key, "big") for key, _ in ledger.tables.garbage.ascending(txn, b"")]
    for number in leftovers:
        sweep(ledger, number)
