"""Who has the store open, and whether the last who had it closed it."""

from __future__ import annotations

import errno
import faulthandler
import fcntl
import logging
import os
from pathlib import Path

from oblixd.errors import FailedPreconditionError, UnavailableError
from oblixd.store.files import sync_directory

logger = logging.getLogger(__name__)

LOCK_FILE = "in-use"
_MAX_LEFT_BYTES = 2**16
_CRASH = b"Fatal Python error"
"""How the standard library's faulthandler begins."""
_OF_THE_STORE = b"oblixd/store/"


class DirectoryLock:
    """A locked file beside the data. It holds text for as long as the store is open.

    The lock ends with the process, however it ends; the text stays when it ended
    without closing the store.
    """

    def __init__(self, directory: Path, descriptor: int) -> None:
        self.directory = directory
        """The store's directory."""
        self._descriptor = descriptor
        self._reports = False
        left = os.pread(descriptor, _MAX_LEFT_BYTES, 0)
        self.is_unclean = bool(left)
        """True: the store was not closed the last time."""
        self.has_crashed = _CRASH in left and _OF_THE_STORE in left
        """True: its process died of a signal while it read or wrote the store (see `report_crashes`)."""

    @classmethod
    def take(cls, directory: Path) -> DirectoryLock:
        """Lock the directory, making it (0700) where it is missing."""
        try:
            _make(directory)
            descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unreachable(directory, error) from error
        _lock(descriptor, directory)
        return cls(directory, descriptor)

    def mark(self) -> None:
        """Mark the store as open: from here on an end without `release` is unclean."""
        try:
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, f"{os.getpid()}\n".encode())
            os.fsync(self._descriptor)
            sync_directory(self.directory)
        except OSError as error:
            # On a full disk it is opened all the same: what is there can be read, and deleted.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise _unreachable(self.directory, error) from error
            logger.warning("the disk of %s is full: an unclean end will not be known", self.directory)

    def report_crashes(self) -> None:
        """Have Python write where it was when a signal such as SIGSEGV or SIGABRT kills this process.

        The next start reads it. Frames are names of files and functions; no values are in it.
        """
        faulthandler.enable(self._descriptor, all_threads=False)
        self._reports = True

    def settle(self) -> None:
        """Note that the store is sound now, whatever the last process left."""
        self.is_unclean = self.has_crashed = False

    def release(self) -> None:
        """Release the lock: the store is closed."""
        if self._reports:
            faulthandler.disable()
        os.ftruncate(self._descriptor, 0)
        os.fsync(self._descriptor)
        os.close(self._descriptor)

    def give_up(self) -> None:
        """Release the lock and leave the text as it was: the store could not be opened."""
        if self.is_unclean:
            os.close(self._descriptor)
        else:
            self.release()


def _make(directory: Path) -> None:
    """Make a directory so that it survives a power loss."""
    if not directory.exists():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_directory(directory.parent)


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
