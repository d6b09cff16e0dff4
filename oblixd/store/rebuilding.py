"""A new data file from the sound records of a damaged one, and packed files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import lmdb

from oblixd.store import schema
from oblixd.store.datafile import pages
from oblixd.store.datafile.pages import Pages
from oblixd.store.inspection import NO_STORE, damage_error
from oblixd.store.offline import LIB_VERSION, MAX_TABLES, Damage
from oblixd.store.table import CHECKSUM_BYTES, add_checksum
from oblixd.store.writer import translated_errors

BATCH_SIZE = 5_000
"""Records that one transaction writes."""
ROOM_BYTES = 2**26
"""How much larger than its source a new file may become: its pages are less full."""

Record = tuple[bytes, bytes]


@translated_errors()
def rebuild(source: Path, draft: Path, *, careful: bool) -> list[Damage]:
    """Copy every record whose checksum holds into a new file, table by table. Return what was lost.

    Reads the source without liblmdb, so that no page of it can end this process. DataLossError
    where it has no meta page that can be read, and, if `careful`, where one of the two is damaged:
    then the newest transactions may be missing, and nobody knows of which sessions.
    """
    try:
        draft.unlink(missing_ok=True)
        with pages.open_pages(source) as reader, _environment(draft, reader.size) as environment:
            if careful and not reader.is_newest:
                raise damage_error(source, reader.problems[0])
            lost = list(_copy(reader, environment))
            environment.sync(True)
            return [*lost, *(Damage("", b"", problem) for problem in reader.problems)]
    except pages.DamagedMetaError:
        raise damage_error(source, NO_STORE) from None


@translated_errors()
def bring_up(draft: Path, names: Iterable[str]) -> None:
    """Migrate a rebuilt file to this daemon's schema, and make the tables that it lacks."""
    with _environment(draft, draft.stat().st_size) as environment:
        schema.bring_up(environment)
        for name in names:
            environment.open_db(name.encode())
        environment.sync(True)


@translated_errors()
def compact(source: Path, draft: Path) -> None:
    """Copy a sound file without its free pages, each table in one piece."""
    with (
        lmdb.open(
            str(source), subdir=False, readonly=True, lock=False, create=False, max_dbs=MAX_TABLES
        ) as environment,
        draft.open("xb") as file,
    ):
        draft.chmod(0o600)
        environment.copyfd(file.fileno(), compact=True)


def _environment(draft: Path, size: int) -> lmdb.Environment:
    return lmdb.open(
        str(draft),
        subdir=False,
        lock=False,
        sync=False,
        mode=0o600,
        map_size=2 * size + ROOM_BYTES,
        max_dbs=MAX_TABLES,
        lib_version=LIB_VERSION,
    )


def _copy(reader: Pages, environment: lmdb.Environment) -> Iterator[Damage]:
    for name, tree in reader.tables().items():
        damage: list[Damage] = []
        sound = _sound_records(name, reader.records(name, tree), damage)
        database = environment.open_db(name.encode())
        while some := list(islice(sound, BATCH_SIZE)):
            _write(environment, database, some)
        yield from damage


def _sound_records(name: str, records: Iterable[Record], damage: list[Damage]) -> Iterator[Record]:
    for key, value in records:
        if add_checksum(key, value[CHECKSUM_BYTES:]) == value:
            yield key, value
        else:
            damage.append(Damage(name, key, f"its record {key.hex()} in {name} is damaged"))


def _write(environment: lmdb.Environment, database: lmdb._Database, some: Iterable[Record]) -> None:
    with environment.begin(write=True, db=database) as txn, txn.cursor() as cursor:
        cursor.putmulti(some)
