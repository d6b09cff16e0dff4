"""The number of the schema that a file was written in, and its way to ours."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import lmdb

from oblixd.errors import FailedPreconditionError
from oblixd.store.migrations import CHAIN, Migration
from oblixd.store.offline import File
from oblixd.store.table import Table, Transaction
from oblixd.store.v1 import records_pb2 as records

logger = logging.getLogger(__name__)

TABLE = "schema"
KEY = b"version"
PROGRESS = b"migration"
"""There while a migration to the version is under way: what its next step has to know."""
FIRST = 1


def version_of(chain: Sequence[Migration]) -> int:
    """Return the schema to which a chain leads."""
    return chain[-1].to if chain else FIRST


VERSION = version_of(CHAIN)
"""The schema that this daemon writes."""


def bring_up(environment: lmdb.Environment, chain: Sequence[Migration] = CHAIN) -> None:
    """Give a new file the version, migrates an older one, refuses one that a newer daemon wrote.

    It may be killed at any moment, and goes on where it was at the next call.
    """
    with environment.begin(write=True) as txn:
        table = _table(environment, txn, TABLE)
        found = read(table, txn, version_of(chain))
        if found is None:
            _write(table, txn, version_of(chain))
            return
        done = found - 1 if table.get(txn, PROGRESS) is not None else found
    for migration in chain[done - FIRST :]:
        logger.info("the store is brought to schema %d: %s", migration.to, migration.about)
        while _step(environment, migration):
            pass
        logger.info("the store has schema %d", migration.to)


def read(table: Table, txn: Transaction, supported: int = VERSION) -> int | None:
    """Read the version of a file, None for a new one. FailedPreconditionError if it is newer than ours."""
    payload = table.get(txn, KEY)
    if payload is None:
        return None
    found = records.SchemaRecord.FromString(payload).version
    if found > supported:
        raise too_new(found, supported)
    return found


def is_current(file: File) -> bool:
    """Return whether a closed file needs no migration. FailedPreconditionError if it is newer."""
    table = file.tables.get(TABLE)
    if table is None:
        return True  # a new file, to a daemon
    return read(table, file.txn) in (None, VERSION) and table.get(file.txn, PROGRESS) is None


def too_new(found: int, supported: int = VERSION) -> FailedPreconditionError:
    """Return the error that refuses what a newer daemon wrote."""
    return FailedPreconditionError(
        "SCHEMA_TOO_NEW",
        f"The store was written by a newer daemon (schema {found}; this one reads up to {supported}). "
        "Install that version again; nothing was changed.",
        found=found,
        supported=supported,
    )


def _step(environment: lmdb.Environment, migration: Migration) -> bool:
    """Take one step, with its mark, in one transaction. True while there is more.

    The new number comes with the first step: an older daemon must not write into what
    is half new.
    """
    with environment.begin(write=True) as txn:
        table = _table(environment, txn, TABLE)
        left = migration.step(txn, partial(_table, environment, txn), table.get(txn, PROGRESS) or b"")
        _write(table, txn, migration.to)
        if left is None:
            table.delete(txn, PROGRESS)
            return False
        table.put(txn, PROGRESS, left)
        return True


def _table(environment: lmdb.Environment, txn: Transaction, name: str) -> Table:
    return Table(name, environment.open_db(name.encode(), txn=txn))


def _write(table: Table, txn: Transaction, version: int) -> None:
    table.put(txn, KEY, records.SchemaRecord(version=version).SerializeToString())
