"""The store: an LMDB environment, opened with care, read in short transactions, written by one thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import lmdb

from oblixd.errors import UnavailableError
from oblixd.store import inspection, schema
from oblixd.store.backup import Copies, Copy
from oblixd.store.directory_lock import DirectoryLock
from oblixd.store.files import FileIdentity, sync_directory
from oblixd.store.migrations import CHAIN, Migration
from oblixd.store.offline import LIB_VERSION, MAX_TABLES
from oblixd.store.quota import Quota
from oblixd.store.table import Table, Transaction
from oblixd.store.writer import Writer, closed_error, translate

T = TypeVar("T")

DRAFT = "new.mdb"


class Store:
    """One open environment. Made by `Store.open`, used on the event loop that opened it."""

    def __init__(
        self,
        lock: DirectoryLock,
        writer: Writer,
        environment: lmdb.Environment,
        *,
        quota: Quota,
        file_identity: FileIdentity,
        tables: Mapping[str, Table],
    ) -> None:
        self._lock = lock
        self._writer = writer
        self._environment: lmdb.Environment | None = environment
        self._quota = quota
        self._file_identity = file_identity
        self._tables = tables
        self._copies = Copies(lock.directory)

    @classmethod
    async def open(
        cls,
        directory: Path,
        tables: tuple[str, ...],
        *,
        map_size: int,
        migrations: Sequence[Migration] = CHAIN,
    ) -> Store:
        """Open the store in `directory`, which is made (0700) where it is missing.

        `map_size` is the most bytes that the file can grow to; it is reserved as
        address space, not on disk. A store of an older schema is migrated first; how far
        that has come outlasts a kill. FailedPreconditionError where another process has
        it open or a newer daemon wrote it, DataLossError STORE_DAMAGED where it is damaged,
        ResourceExhaustedError where there is no room, UnavailableError where the
        directory can't be used.
        """
        lock = DirectoryLock.take(directory)
        try:
            await inspection.inspect(directory, suspicious=lock.is_unclean, crashed=lock.has_crashed)
            lock.mark()
            handles: dict[str, Table] = {}
            quota = Quota(handles)
            file_identity = FileIdentity(directory / inspection.DATA_FILE)
            opening = partial(_open, directory, map_size, tables, handles, migrations)
            writer = Writer(opening, quota, file_identity.check)
            environment = await writer.start()
            file_identity.remember()
        except BaseException:
            lock.give_up()
            raise
        return cls(lock, writer, environment, quota=quota, file_identity=file_identity, tables=handles)

    def table(self, name: str) -> Table:
        """Return one of the tables that were named at the open."""
        return self._tables[name]

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Open a snapshot to read from. Never hold it across an await: old pages can't be reused then."""
        if self._environment is None:
            raise closed_error()
        try:
            with self._environment.begin() as txn:
                yield txn
        except lmdb.Error as error:
            raise self._writer.failure_by(error) or translate(error) from error

    def write(
        self, operation: Callable[[Transaction], T], *, frees: bool = False, gathers: bool = False
    ) -> asyncio.Future[T]:
        """Run an operation in the writer's next transaction; done once that is durable.

        The operation may be run more than once, each time in a new transaction, and
        is carried out also when the caller is cancelled. `frees`: it gives room back, at once
        or soon, and may use the pages that are kept back for that. ResourceExhaustedError
        STORE_FULL, STORE_FRAGMENTED or DISK_FULL where there is no room. `gathers`: others follow within some
        milliseconds, and it waits for them: they share one sync.
        """
        return self._writer.submit(operation, frees, gathers=gathers)

    def write_idle(self, operation: Callable[[Transaction], bool]) -> None:
        """Run a small operation when no other waits, again and again for as long as it returns True.

        What is left of it at the close is not carried out.
        """
        self._writer.submit_idle(operation)

    @property
    def is_full(self) -> bool:
        """True from a write that was refused for want of room until enough was deleted."""
        return self._quota.is_full

    def on_full(self, callback: Callable[[], None]) -> None:
        """Have something called on the loop after a write was refused for want of room."""
        self._writer.on_full = callback

    def is_there(self) -> bool:
        """Return whether the file is still where it was opened. When it is not, writes are refused."""
        return self._file_identity.is_there()

    @property
    def failure(self) -> UnavailableError | None:
        """Why nothing more can be read or written by this process. None: all is well."""
        return self._writer.failure

    async def backup(self) -> Copy:
        """Return a copy as of now, made while writing goes on. Read its pieces: that closes it.

        It lies in the store's directory, where it needs room for as many bytes as are in
        use. ResourceExhaustedError DISK_FULL where they are not free.
        """
        if self._environment is None:
            raise closed_error()
        with self.read() as txn:
            size = self._quota.used_bytes(txn) + inspection.FIRST_BYTES
        return await self._copies.make(self._environment, schema.VERSION, size)

    def report_crashes(self) -> None:
        """Have the next start told when liblmdb kills this process. For a process that is a daemon."""
        self._lock.report_crashes()

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Have something called on the loop after each group of writes that is durable."""
        self._writer.on_commit = callback

    async def close(self) -> None:
        """Carry out the writes that wait, give up copies that are being made, and close the file."""
        await self._copies.stop()
        await self._writer.stop()
        self._environment = None
        self._lock.release()


def _make(directory: Path, migrations: Sequence[Migration]) -> None:
    """Make a new file under another name first: one that is there is never empty, whenever we are killed."""
    draft = directory / DRAFT
    draft.unlink(missing_ok=True)
    with lmdb.open(
        str(draft), subdir=False, lock=False, mode=0o600, max_dbs=MAX_TABLES, lib_version=LIB_VERSION
    ) as environment:
        schema.bring_up(environment, migrations)
    draft.replace(directory / inspection.DATA_FILE)
    sync_directory(directory)


def _open(
    directory: Path,
    map_size: int,
    names: tuple[str, ...],
    tables: dict[str, Table],
    migrations: Sequence[Migration],
) -> lmdb.Environment:
    if not (directory / inspection.DATA_FILE).exists():
        _make(directory, migrations)
    # readahead is for scans; ours are point reads in a file that may be larger than the memory.
    environment = lmdb.open(
        str(directory),
        map_size=map_size,
        max_dbs=MAX_TABLES,
        mode=0o600,
        readahead=False,
        max_spare_txns=4,
        lib_version=LIB_VERSION,
    )
    try:
        schema.bring_up(environment, migrations)
        with environment.begin(write=True) as txn:
            for name in names:
                tables[name] = Table(name, environment.open_db(name.encode(), txn=txn))
    except BaseException:
        environment.close()
        raise
    return environment
