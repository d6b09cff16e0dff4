"""Who has the store open, and whether the last who had it closed it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from oblixd.errors import FailedPreconditionError, UnavailableError

CLAIM_FILE = "in-use"


class Claim:
    """A locked file beside the data. It holds text for as long as the store is open.

    The lock ends with the process, however it ends; the text stays when it ended
    without closing the store.
    """

    def __init__(self, directory: Path, descriptor: int) -> None:
        self.directory = directory
        """The store's directory."""
        self._descriptor = descriptor
        self.unclean = os.fstat(descriptor).st_size > 0
        """True: the store was not closed the last time."""

    @classmethod
    def take(cls, directory: Path) -> Claim:
        """Locks the directory, making it (0700) where it is missing."""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(directory / CLAIM_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unreachable(directory, error) from error
        _lock(descriptor, directory)
        return cls(directory, descriptor)

    def mark(self) -> None:
        """From here on an end without `release` is an unclean one."""
        try:
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
            os.fsync(self._descriptor)
        except OSError as error:
            raise _unreachable(self.directory, error) from error

    def release(self) -> None:
        """The store is closed: gives the lock back."""
        os.ftruncate(self._descriptor, 0)
        os.fsync(self._descriptor)
        os.close(self._descriptor)

    def give_up(self) -> None:
        """The store could not be opened: gives the lock back and leaves the text as it was found."""
        if self.unclean:
            os.close(self._descriptor)
        else:
            self.release()


def _unreachable(directory: Path, error: OSError) -> UnavailableError:
    return UnavailableError(
        "STORE_UNREACHABLE",
        f"The store's directory {directory} can't be written: {error.strerror}. "
        "Look at its owner and mode, and at the disk.",
        path=directory,
    )


def _lock(descriptor: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise FailedPreconditionError(
            "STORE_IN_USE",
            f"Another process has the store in {directory} open. Stop it first.",
            path=directory,
        ) from None
