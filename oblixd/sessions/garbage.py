"""Sweeps what nobody sees: messages of deleted sessions, and what was being built when the daemon died."""

from __future__ import annotations

from oblixd.sessions.ledger import Ledger
from oblixd.sessions.tables import number_key
from oblixd.store import Transaction

SWEPT_AT_ONCE = 500
"""Records that one transaction removes, so that no writer waits long for it."""


def sweep(ledger: Ledger, number: int) -> None:
    """Removes what is kept under a number, bit by bit, when nothing else is to be written."""
    key = number_key(number)

    def step(txn: Transaction) -> bool:
        for table in (ledger.tables.messages, ledger.tables.pieces):
            if table.delete_all(txn, key, SWEPT_AT_ONCE) == SWEPT_AT_ONCE:
                return True
        ledger.tables.garbage.delete(txn, key)
        return False

    ledger.store.write_idle(step)


def sweep_leftovers(ledger: Ledger) -> None:
    """Sweeps what the daemon before did not come to. Before anything new is built."""
    with ledger.store.read() as txn:
        leftovers = [int.from_bytes(key, "big") for key, _ in ledger.tables.garbage.ascending(txn, b"")]
    for number in leftovers:
        sweep(ledger, number)
