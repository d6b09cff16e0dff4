"""Reading a store's file that nobody has open, without trust in it.

What is read here may be damaged in any way: run it in a process of its own (`forked_reader.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import lmdb

from oblixd.store.inspection import bytes_needed, damage_error
from oblixd.store.table import Table, Transaction
from oblixd.store.writer import translated_errors

MAX_TABLES = 64
LIB_VERSION = 0
"""The format of new files: LMDB 0.9. Without it the environment variable LMDB_DEFAULT_LIB_VERSION chooses."""
ROOM_BYTES = 2**24
"""How much a file may grow by a change."""


class File(NamedTuple):
    """A file while it is read."""

    txn: Transaction
    tables: Mapping[str, Table]


class Damage(NamedTuple):
    """What is wrong with one record or one table."""

    table: str
    key: bytes
    """Empty: the table itself can't be trusted, and nothing that is found by it."""
    what: str


@contextmanager
def open_file(path: Path) -> Iterator[File]:
    """Open a data file, or a backup, for reading. DataLossError where liblmdb refuses it."""
    bytes_needed(path)
    try:
        with (
            lmdb.open(
                str(path), subdir=False, readonly=True, lock=False, create=False, max_dbs=MAX_TABLES
            ) as environment,
            environment.begin() as txn,
        ):
            yield _file(environment, txn)
    except (lmdb.Error, UnicodeDecodeError) as error:
        raise damage_error(path, str(error)) from error


@translated_errors()
def change(path: Path, operation: Callable[[File], None]) -> None:
    """Change a data file in one transaction, and return once that is durable."""
    room = path.stat().st_size + ROOM_BYTES
    with lmdb.open(
        str(path), subdir=False, lock=False, create=False, map_size=room, max_dbs=MAX_TABLES
    ) as environment:
        with environment.begin(write=True) as txn:
            operation(_file(environment, txn))
        # Also what was there before: the file was only just written.
        environment.sync(True)


def _file(environment: lmdb.Environment, txn: Transaction) -> File:
    names = list(txn.cursor().iternext(values=False))
    databases = [environment.open_db(name, txn=txn, create=False) for name in names]
    tables = [Table(name.decode(), database) for name, database in zip(names, databases, strict=True)]
    return File(txn, {table.name: table for table in tables})


def damage(file: File) -> Iterator[Damage]:
    """Read every record of every table; say which are damaged, and which tables are."""
    for table in file.tables.values():
        yield from _damage_of(table, file.txn)


def _damage_of(table: Table, txn: Transaction) -> Iterator[Damage]:
    left = table.count(txn)
    try:
        for key, is_sound in table.survey(txn):
            left -= 1
            # Pages that point in a circle have no end.
            if left < 0:
                break
            if not is_sound:
                yield Damage(table.name, key, f"its record {key.hex()} in {table.name} is damaged")
    except lmdb.Error as error:
        yield Damage(table.name, b"", f"the table {table.name} can't be read to its end ({error})")
        return
    if left:
        yield Damage(table.name, b"", f"the table {table.name} has not as many records as it counts")
