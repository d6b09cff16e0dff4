"""The process at the other end of a Unix socket.

gRPC notices a moment late that a daemon has died, and cannot say of a call made
in that moment whether it was carried out. Asking the kernel first tells at once.

Who holds the daemon's lock, be it served or not.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import socket
import struct
import weakref
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

_SCHEME = "unix:"
_CREDENTIALS = struct.Struct("3i")  # pid, user, group


class DaemonProcess:
    """Watches the process that listens at a target. Where the kernel can't tell, it counts as alive."""

    def __init__(self, target: str) -> None:
        self.pid = _listener_at(target)
        """The process id; 0 where nobody listened, or the kernel did not say."""
        self._process = _open_process(self.pid)
        if self._process is not None:
            weakref.finalize(self, os.close, self._process)

    @property
    def has_ended(self) -> bool:
        """Whether it is gone. One system call."""
        if self._process is None:
            return False
        poll = select.poll()
        poll.register(self._process, select.POLLIN)
        return bool(poll.poll(0))


def to_target(path: Path) -> str:
    """Return a socket's path as gRPC names it."""
    return f"{_SCHEME}{quote(os.fsencode(path))}"


def to_path(target: str) -> str:
    """Return the path of the socket that gRPC names so."""
    return os.fsdecode(unquote_to_bytes(target.removeprefix(_SCHEME)))


def _listener_at(target: str) -> int:
    """Return the process id of who listens; 0 where nobody does, or the kernel does not say."""
    if not target.startswith(_SCHEME):
        return 0
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)
        try:
            probe.connect(to_path(target))
            found = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except (OSError, AttributeError):  # AttributeError: not on this system
            return 0
    return int(_CREDENTIALS.unpack(found)[0])


def _open_process(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid) if pid else None
    except (OSError, AttributeError):  # AttributeError: not on this system
        return None


LOCK_BYTES = 1024


def holder_at(target: str) -> int:
    """Return the process id of who holds the lock beside a socket; 0 for nobody, or while it starts."""
    found = re.match(rb"pid (\d+),", _about(target))
    return int(found[1]) if found else 0


def version_at(target: str) -> str:
    """Return the version of who holds the lock beside a socket; empty for nobody, or an unknown one."""
    found = re.match(rb"pid \d+, version ([!-~]+?),", _about(target))
    return found[1].decode() if found else ""


def _about(target: str) -> bytes:
    """Return what the holder of the lock wrote of itself; nothing where nobody holds it.

    What the file says outlives who wrote it: it counts while the lock is held.
    """
    if not target.startswith("unix:"):
        return b""
    try:
        lock = os.open(
            Path(to_path(target)).with_name("oblixd.lock"), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        )
    except OSError:
        return b""
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(lock, LOCK_BYTES, 0)
    else:
        return b""
    finally:
        os.close(lock)


def remedy(pid: int) -> str:
    """Return what a person can do about a daemon that does not answer."""
    return (
        f"`kill -CONT {pid}` lets one that was stopped go on, `kill -9 {pid}` ends it: "
        "what was acknowledged is on disk, and the next call starts another."
    )
