"""Schema 4: the versions of messages that were replaced have a table."""

from __future__ import annotations

from oblixd.store.migrations.base import Tables
from oblixd.store.table import Transaction


def step(txn: Transaction, tables: Tables, progress: bytes) -> bytes | None:
    """Make the table. No message has older versions yet."""
    tables("versions")
    return None
