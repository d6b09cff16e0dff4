"""The daemon's log: one line a record, on standard error, and of bounded size where that is our log file."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TextIO

from oblixd.redaction import SECRETS

LARGEST_BYTES = 8 << 20
"""A log file that is larger moves to `NAME.1`, in place of the one before."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def set_up(level: str, log: Path | None = None) -> None:
    """Log to standard error: records of ours from `level` on, of libraries from warnings on.

    Libraries are kept quiet because they know no secret from a word. `log` is
    the file that whoever started us may have put in standard error's place.
    """
    handler = _Handler(log)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("oblixd").setLevel(level.upper())
    logging.captureWarnings(capture=True)


class OneLine(logging.Formatter):
    """Time in UTC, and a record on one line whatever is in it: none can pass for two."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        """Return the record without line breaks and control characters."""
        text = SECRETS.hide(" | ".join(super().format(record).splitlines()))
        return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)

    def formatException(self, ei: _ExceptionInfo) -> str:  # noqa: N802 - logging's name
        """Return the traceback without its indentation and markers."""
        lines = (line.strip() for line in super().formatException(ei).splitlines())
        return "\n".join(line for line in lines if line.strip("^~"))


_ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to standard error, and keeps the file behind it small."""

    def __init__(self, log: Path | None) -> None:
        super().__init__(sys.stderr)
        self._log = log if log is not None and _is_standard_error(log) else None

    def emit(self, record: logging.LogRecord) -> None:
        """Write it; then cut the file where it has grown too large."""
        super().emit(record)
        try:
            if self._log is not None and os.fstat(sys.stderr.fileno()).st_size > LARGEST_BYTES:
                _roll(self._log)
        except OSError:
            self.handleError(record)


def _is_standard_error(log: Path) -> bool:
    """Whether standard error appends to this very file: only then may it be cut under whoever writes."""
    try:
        ours, theirs = os.fstat(sys.stderr.fileno()), log.stat()
    except OSError:
        return False
    appends = bool(fcntl.fcntl(sys.stderr.fileno(), fcntl.F_GETFL) & os.O_APPEND)
    return os.path.samestat(ours, theirs) and appends


def _roll(log: Path) -> None:
    """Copy and cut rather than rename: children write to the same open file."""
    try:
        shutil.copy(log, log.with_name(f"{log.name}.1"))
    finally:
        os.ftruncate(sys.stderr.fileno(), 0)
