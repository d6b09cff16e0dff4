"""One daemon per user: a held flock, then the socket. Whoever holds it is named in the file."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path


class AlreadyRunningError(Exception):
    """Another daemon holds the lock; the message says which."""


class Lock:
    """An flock on a file. It ends with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def hold(self, about: str) -> Generator[None, None, None]:
        """Hold the lock, with `about` in the file; AlreadyRunningError with what the holder wrote there.

        The file stays: removing it would let two daemons lock two files of one name.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _take(descriptor)
            os.ftruncate(descriptor, 0)
            # It is for people: a full disk keeps nobody from holding the lock.
            with suppress(OSError):
                os.pwrite(descriptor, f"{about}\n".encode(), 0)
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)


def _take(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 1024, 0).decode(errors="replace").strip()
        raise AlreadyRunningError(holder or "it is just starting") from None
