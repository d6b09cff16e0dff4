"""Putting a backup in the place of a store, whole or not at all, and keeping what was there."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from oblixd.errors import DataLossError, invalid_argument
from oblixd.store import backup_trailer, offline, schema
from oblixd.store.files import sync_directory, sync_file
from oblixd.store.inspection import DATA_FILE

DRAFT = "restoring.mdb"
BLOCK_BYTES = 2**20


def verify(backup: Path) -> int:
    """Read a backup wholly and return the size of the data file that it begins with.

    InvalidArgumentError NOT_A_BACKUP where it is another file or was cut short,
    DataLossError BACKUP_DAMAGED where a byte is not what was written,
    FailedPreconditionError SCHEMA_TOO_NEW where a newer daemon wrote it.
    """
    with backup.open("rb") as file:
        end = _trailer(file)
        if end is None:
            raise invalid_argument(
                "NOT_A_BACKUP",
                f"{backup} is not what `oblix backup` writes, or it was cut short. Look for another one.",
                field="file",
                given=backup,
            )
        if _digest(file, end.size + len(end.fields())) != end.digest:
            raise DataLossError(
                "BACKUP_DAMAGED",
                f"{backup} is damaged: it is not what `oblix backup` wrote. Look for another one.",
                path=backup,
            )
    if end.schema > schema.VERSION:
        raise schema.too_new(end.schema)
    return end.size


def put_in_place(
    backup: Path, size: int, directory: Path, kept: Path, prepare: Callable[[offline.File], None]
) -> bool:
    """Make a verified backup the store in `directory`; the caller has its claim.

    `prepare` changes the copy before anybody sees it. What is there goes to the new
    directory `kept`; False: nothing was there. Killed at any moment this leaves the old
    store or the new one.
    """
    draft = directory / DRAFT
    try:
        _copy(backup, size, draft)
        offline.change(draft, prepare)
        return replace(draft, directory, kept)
    finally:
        draft.unlink(missing_ok=True)


def replace(draft: Path, directory: Path, kept: Path | None) -> bool:
    """Make a finished file the store in `directory`, whole or not at all; durable at the return.

    What is there goes to the new directory `kept`; None: it goes. False: nothing was there.
    """
    data = directory / DATA_FILE
    was_there = data.exists()
    if was_there and kept is not None:
        kept.mkdir(mode=0o700)
        # A second name, not a move: at no moment there is no store.
        os.link(data, kept / DATA_FILE)
        sync_directory(kept)
        sync_directory(kept.parent)
    sync_file(draft)
    draft.replace(data)
    sync_directory(directory)
    return was_there


def _trailer(file: BinaryIO) -> backup_trailer.Trailer | None:
    size = os.fstat(file.fileno()).st_size
    file.seek(max(size - backup_trailer.TRAILER_BYTES, 0))
    found = backup_trailer.read(file.read(backup_trailer.TRAILER_BYTES))
    return found if found and found.size + backup_trailer.TRAILER_BYTES == size else None


def _digest(file: BinaryIO, size: int) -> bytes:
    digest = hashlib.sha256()
    file.seek(0)
    while size and (block := file.read(min(size, BLOCK_BYTES))):
        digest.update(block)
        size -= len(block)
    return digest.digest()


def _copy(backup: Path, size: int, draft: Path) -> None:
    draft.unlink(missing_ok=True)
    with backup.open("rb") as source, draft.open("xb") as target:
        draft.chmod(0o600)
        shutil.copyfileobj(source, target, BLOCK_BYTES)
        target.truncate(size)
