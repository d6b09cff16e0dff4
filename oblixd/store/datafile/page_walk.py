"""Reads a store's file in a process of its own: `python walk.py DIRECTORY SECONDS`.

Exit 0: liblmdb can read it. Exit 1: the last line on standard error says what is
wrong. Killed by a signal: liblmdb crashed on it. SECONDS 0: read all of it.
Checksums are not looked at: a damaged record is named when somebody reads it, and
is no reason to refuse all others.
"""

from __future__ import annotations

import sys
import time
from itertools import chain, islice
from typing import TYPE_CHECKING

import lmdb

if TYPE_CHECKING:  # the child loads nothing but lmdb
    from oblixd.store.table import Transaction

END_RECORDS = 200
"""How many records are read at each table's ends before the rest."""


def main() -> int:
    """Walk the tables, their ends first, until all is read or the time is over."""
    directory, seconds = sys.argv[1], float(sys.argv[2])
    until = time.monotonic() + seconds if seconds else float("inf")
    try:
        with lmdb.open(directory, readonly=True, create=False, max_dbs=64) as environment:
            _walk(environment, until)
    except lmdb.Error as error:
        print(error, file=sys.stderr)  # noqa: T201 - the parent reads it
        return 1
    return 0


def _walk(environment: lmdb.Environment, until: float) -> None:
    with environment.begin() as txn:
        names = list(txn.cursor().iternext(values=False))
    databases = [environment.open_db(name, create=False) for name in names]
    with environment.begin() as txn:
        for database in databases:
            _read_ends(txn, database)
        for database in databases:
            _read(txn, database, until)


def _read_ends(txn: Transaction, database: lmdb._Database) -> None:
    cursor = txn.cursor(database)
    for _ in chain(islice(cursor.iternext(), END_RECORDS), islice(cursor.iterprev(), END_RECORDS)):
        pass


def _read(txn: Transaction, database: lmdb._Database, until: float) -> None:
    for _ in txn.cursor(database).iternext():
        if time.monotonic() > until:
            return


if __name__ == "__main__":
    sys.exit(main())
