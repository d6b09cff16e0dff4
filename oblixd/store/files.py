"""A store's files among others: names that survive a power loss, and whether a file is still there.

A new name, or a changed one, is durable once its directory is synced. A file that is removed or
moved while it is open takes writes as before, and the next start does not find them.
"""

from __future__ import annotations

import os
from pathlib import Path

from oblixd.errors import UnavailableError


class FileIdentity:
    """A path, and the file that was found there."""

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._identity: tuple[int, int] | None = None

    def remember(self) -> None:
        """Take the file that is there now for the one that belongs there."""
        self._identity = self._identify()

    def is_there(self) -> bool:
        """Return whether that file is still there."""
        return self._identity is None or self._identify() == self._identity

    def check(self) -> None:
        """UnavailableError STORE_REMOVED where it is not."""
        if not self.is_there():
            raise UnavailableError(
                "STORE_REMOVED",
                f"The store's file {self._path} was removed or moved while the daemon had it open. Nothing "
                "more is written. Put it back, or restore a backup with `oblixd restore FILE`.",
                path=self._path,
            )

    def _identify(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)  # noqa: PTH116 - one system call a transaction
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


def sync_directory(directory: Path) -> None:
    """Sync a directory: the names in it are durable afterwards."""
    _sync(directory, os.O_RDONLY | os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Sync a file: its bytes are durable afterwards."""
    _sync(path, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
