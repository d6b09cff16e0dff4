"""Writes records to systemd's journal with their fields, so that `journalctl` can filter by them.

The protocol is https://systemd.io/JOURNAL_NATIVE_PROTOCOL: one datagram, a field a line.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

SOCKET = "/run/systemd/journal/socket"
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""syslog(3): err, warning, info; what is less is debug."""
_DEBUG = 7


def is_standard_error(environ: Mapping[str, str]) -> bool:
    """Return whether standard error leads to the journal: systemd then names its device and inode."""
    given = environ.get("JOURNAL_STREAM", "")
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return given == f"{found.st_dev}:{found.st_ino}"


class JournalHandler(logging.Handler):
    """Sends each record as one entry. What the journal does not take goes to standard error."""

    def __init__(self, otherwise: logging.Handler, address: str = SOCKET) -> None:
        super().__init__()
        self._otherwise = otherwise
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record. The formatter gives one line without control characters."""
        fields = {
            "MESSAGE": self.format(record),
            "PRIORITY": f"{_priority(record.levelno)}",
            "SYSLOG_IDENTIFIER": "oblixd",
            "LOGGER": record.name,
            "CODE_FUNC": record.funcName or "",
            "OBLIX_REQUEST_ID": getattr(record, "request_id", ""),
        }
        entry = "".join(f"{name}={value}\n" for name, value in fields.items() if value)
        try:
            self._socket.sendto(entry.encode("utf-8", "replace"), self._address)
        except OSError:
            self._otherwise.handle(record)


def _priority(level: int) -> int:
    return next((priority for least, priority in _PRIORITIES if level >= least), _DEBUG)
