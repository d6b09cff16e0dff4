"""Copies of the whole store as it is at one moment, made while writing goes on.

Pages that a read transaction may still look at are not used again, so a file grows
for as long as one is open. How long that is must not be the choice of a client that
reads slowly: liblmdb copies into a file without a name in the store's directory, as
fast as the disk takes it, and the client reads from there. So a backup needs room for
a second, compact copy. Without that room none is begun; and a reader that takes
nothing for a minute loses it, which gives the room back.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import lmdb

from oblixd.errors import DeadlineExceededError, ResourceExhaustedError
from oblixd.store import backup_trailer
from oblixd.store.writer import closed_error, translate

PIECE_BYTES = 2**18
"""Clients read hundreds of pieces ahead: those must fit into their memory."""
STALL_SECONDS = 60.0
"""After this time without a read a copy is given up."""
RESERVE_BYTES = 2**24
"""What a copy leaves free, for those who go on writing."""


class Copy:
    """A finished backup file, to be read once. It has no name: when it is closed, it is gone."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        """Bytes."""

    async def pieces(self, *, stall_s: float = STALL_SECONDS) -> AsyncGenerator[bytes, None]:
        """Yield the file's bytes in order, at most PIECE_BYTES at a time; closes it at the end.

        DeadlineExceededError BACKUP_STALLED where nothing was taken for `stall_s` seconds.
        """
        loop = asyncio.get_running_loop()
        with self._file as file:
            file.seek(0)
            while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                giving_up = loop.call_later(stall_s, file.close)
                try:
                    yield piece
                finally:
                    giving_up.cancel()
                if file.closed:
                    raise _stall_error(stall_s)


class Copies:
    """The copies that are being made of one store."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._tasks: dict[asyncio.Future[None], threading.Event] = {}

    async def make(self, environment: lmdb.Environment, schema: int, size: int) -> Copy:
        """Write a copy of the environment. `size`: the bytes it may need, compared with the disk."""
        _check_room(self._directory, size)
        file, stop = tempfile.TemporaryFile(dir=self._directory), threading.Event()  # noqa: SIM115 - Copy does it
        task = asyncio.ensure_future(asyncio.to_thread(_make, environment, file, schema, stop))
        self._tasks[task] = stop
        task.add_done_callback(self._discard)
        try:
            await asyncio.shield(task)
        except BaseException as error:
            stop.set()
            await asyncio.wait([task])
            file.close()
            raise (translate(error) if isinstance(error, Exception) else error) from error
        return Copy(file)

    async def stop(self) -> None:
        """Give up what is being made; from then on the environment may be closed."""
        for stop in self._tasks.values():
            stop.set()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _discard(self, task: asyncio.Future[None]) -> None:
        del self._tasks[task]
        task.exception()  # it is told to the caller of `make`, who may be gone


def _make(environment: lmdb.Environment, file: BinaryIO, schema: int, stop: threading.Event) -> None:
    digest = hashlib.sha256()
    reader, writer = os.pipe()
    # liblmdb's copy can't be interrupted but by a pipe that nobody reads any more: that closes first. It is
    # opened by its descriptor, which no Path has.
    with ThreadPoolExecutor(1, "store-copy") as thread, open(reader, "rb", buffering=0) as pipe:  # noqa: PTH123
        copying = thread.submit(_copy, environment, writer)
        while not stop.is_set() and (piece := pipe.read(PIECE_BYTES)):
            digest.update(piece)
            file.write(piece)
    if stop.is_set():
        raise closed_error()
    copying.result()
    file.write(backup_trailer.write(schema, file.tell(), digest))
    file.flush()


def _copy(environment: lmdb.Environment, descriptor: int) -> None:
    try:
        environment.copyfd(descriptor, compact=True)
    finally:
        os.close(descriptor)


def _check_room(directory: Path, size: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < size + RESERVE_BYTES:
        raise ResourceExhaustedError(
            "DISK_FULL",
            f"A backup begins with a copy of {size} bytes in {directory}. {free} are free there, and "
            f"{RESERVE_BYTES} of them stay for writing. Free some space.",
            path=directory,
            needed=size + RESERVE_BYTES,
            free=free,
        )


def _stall_error(seconds: float) -> DeadlineExceededError:
    return DeadlineExceededError(
        "BACKUP_STALLED",
        f"Nothing of the backup was taken for {seconds:.0f} seconds, so its copy was given up. "
        "Begin again, and write to a disk that is faster.",
    )
