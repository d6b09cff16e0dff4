"""The daemon's log: one line a record, with the id of the request that it is about.

It goes to the journal where systemd started the daemon, else to standard error: there short and in colours
where a person looks at a terminal, and of bounded size where it is our log file.
"""

from __future__ import annotations

import asyncio
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

from oblixd.app import journal
from oblixd.redaction import SECRETS

LARGEST_BYTES = 8 << 20
"""A log file that is larger moves to `NAME.1`, in place of the one before."""

_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s%(about)s"
_EXECUTION = "execution "
"""How the task of an execution begins its name; the rest is the request's id."""
_COLOURS = {"ERROR": "\x1b[31m", "WARNING": "\x1b[33m", "DEBUG": "\x1b[2m"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def set_up(level: str, log: Path | None = None) -> None:
    """Log to standard error: records of ours from `level` on, of libraries from warnings on.

    Libraries are kept quiet because they know no secret from a word. `log` is
    the file that whoever started us may have put in standard error's place.
    """
    handler: logging.Handler = _Handler(log)
    handler.setFormatter(Terminal() if sys.stderr.isatty() else OneLine(_LINE))
    if journal.is_standard_error(os.environ):
        handler = journal.JournalHandler(otherwise=handler)
        handler.setFormatter(OneLine("%(message)s%(about)s"))
    else:
        # Only the journal is told the caller, which logging looks up on the stack for each record. This is
        # the switch that "Optimization" of Python's logging HOWTO names.
        logging._srcfile = None
    handler.addFilter(add_request)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("oblixd").setLevel(level.upper())
    logging.captureWarnings(capture=True)


def add_request(record: logging.LogRecord) -> bool:
    """Put the id of the request that is worked on into a record, as `request_id`."""
    request_id = _request_id()
    is_named = request_id in record.getMessage()
    record.__dict__ |= {"request_id": request_id, "about": "" if is_named else f" request={request_id}"}
    return True


def _request_id() -> str:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # a thread without a loop
        return ""
    name = task.get_name() if task is not None else ""
    return name.removeprefix(_EXECUTION) if name.startswith(_EXECUTION) else ""


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


class Terminal(OneLine):
    """The same for a person at a terminal: the time of day alone, and a colour for what is wrong."""

    converter = staticmethod(time.localtime)
    default_time_format = "%H:%M:%S"
    default_msec_format = ""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s%(about)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line in its colour."""
        colour, line = _COLOURS.get(record.levelname, ""), super().format(record)
        return f"{colour}{line}\x1b[0m" if colour and not os.environ.get("NO_COLOR") else line


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
    """Return whether standard error appends to this very file: only then may it be cut while in use."""
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
