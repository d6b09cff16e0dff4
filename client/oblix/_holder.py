"""Who holds the daemon's lock, be it served or not."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from oblix._peer import to_path

LOCK_BYTES = 1024


def holder_at(target: str) -> int:
    """The process id of who holds the lock beside a socket; 0 where nobody does, or it is just starting.

    What the file says outlives who wrote it: it counts while the lock is held.
    """
    try:
        lock = os.open(
            Path(to_path(target)).with_name("oblixd.lock"), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        )
    except OSError:
        return 0
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        found = re.match(rb"pid (\d+),", os.pread(lock, LOCK_BYTES, 0))
        return int(found[1]) if found else 0
    else:
        return 0
    finally:
        os.close(lock)


def remedy(pid: int) -> str:
    """What a person can do about a daemon that does not answer."""
    return (
        f"`kill -CONT {pid}` lets one that was stopped go on, `kill -9 {pid}` ends it: "
        "what was acknowledged is on disk, and the next call starts another."
    )
