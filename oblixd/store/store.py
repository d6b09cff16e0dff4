"""The store: an LMDB environment, opened with care, read in short transactions, written by one thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import lmdb

from oblixd.store import inspection, schema
from oblixd.store.claim import Claim
from oblixd.store.table import Table, Transaction
from oblixd.store.writer import Operation, Writer, closed, translated

__all__ = ["Operation", "Store", "Transaction"]

T = TypeVar("T")

MAX_TABLES = 64


class Store:
    """One open environment. Made by `Store.open`, used on the event loop that opened it."""

    def __init__(self, claim: Claim, path: Path) -> None:
        self._claim = claim
        self._path = path
        self._writer: Writer
        self._environment: lmdb.Environment | None = None
        self._tables: dict[str, Table] = {}

    @classmethod
    async def open(cls, directory: Path, tables: tuple[str, ...], *, map_size: int) -> Store:
        """Opens the store in `directory`, which is made (0700) where it is missing.

        `map_size` is the most bytes that the file can grow to; it is reserved as
        address space, not on disk. FailedPreconditionError where another process has
        it open or a newer daemon wrote it, DataLossError where it is damaged,
        ResourceExhaustedError where there is no room.
        """
        claim = Claim.take(directory)
        try:
            await inspection.inspect(directory, suspicious=claim.unclean)
            store = cls(claim, directory)
            await store._start(tables, map_size)
        except BaseException:
            claim.leave()
            raise
        return store

    async def _start(self, tables: tuple[str, ...], map_size: int) -> None:
        self._claim.mark()

        def open_environment() -> lmdb.Environment:
            environment = _open(self._path, map_size)
            schema.check(environment)
            self._tables = {name: Table(name, environment.open_db(name.encode())) for name in tables}
            return environment

        self._writer = Writer(open_environment)
        self._environment = await self._writer.start()

    def table(self, name: str) -> Table:
        """One of the tables that were named at the open."""
        return self._tables[name]

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A snapshot to read from. Never hold it across an await: it keeps old pages from being reused."""
        if self._environment is None:
            raise closed()
        try:
            with self._environment.begin() as txn:
                yield txn
        except lmdb.Error as error:
            raise translated(error) from error

    def write(self, operation: Callable[[Transaction], T]) -> asyncio.Future[T]:
        """Runs an operation in the writer's next transaction; done once that is durable.

        The operation may be run more than once, each time in a new transaction, and
        is carried out also when the caller is cancelled.
        """
        return self._writer.submit(operation)

    def write_idle(self, operation: Callable[[Transaction], bool]) -> None:
        """Runs a small operation when no other waits, again and again for as long as it returns True.

        What is left of it at the close is not carried out.
        """
        self._writer.submit_idle(operation)

    async def close(self) -> None:
        """Carries out the writes that wait, and closes the file."""
        await self._writer.stop()
        self._environment = None
        self._claim.release()


def _open(path: Path, map_size: int) -> lmdb.Environment:
    # readahead is for scans; ours are point reads in a file that may be larger than the memory.
    return lmdb.open(
        str(path),
        map_size=map_size,
        max_dbs=MAX_TABLES,
        mode=0o600,
        readahead=False,
        max_spare_txns=4,
    )
