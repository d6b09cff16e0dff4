"""Reading the small text files in which Linux tells its counters.

Turns what fails into None, and says so once.

Reading what may take long, or never come back, without waiting for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar


def line(path: Path) -> str | None:
    """Return the text of a file of one line; None where it can't be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return None


def integer(path: Path) -> int | None:
    """Return the number in a file; None where it can't be read or holds none."""
    text = line(path)
    try:
        return None if text is None else int(text, 0)
    except ValueError:
        return None


def table(path: Path) -> dict[str, int]:
    """Files of lines like `name 12` or `name: 12 kB`, by name. Raises OSError."""
    found = {}
    for row in path.read_text().splitlines():
        words = row.split(maxsplit=2)
        if len(words) > 1 and words[1].isdigit():
            found[words[0].rstrip(":")] = int(words[1])
    return found


logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class SafeReader:
    """Reads by name; whatever goes wrong in one reading leaves the others alone."""

    def __init__(self) -> None:
        self._failed_names: set[str] = set()

    def read(self, name: str, read: Callable[[], _T]) -> _T | None:
        """Return what `read` gives, or None where it raises: that is logged the first time."""
        try:
            return read()
        except Exception:  # whatever a driver or a container does to one counter, the others go on
            level = logging.DEBUG if name in self._failed_names else logging.WARNING
            logger.log(level, "can't measure %s: it counts as unknown", name, exc_info=True)
            self._failed_names.add(name)
            return None


STALE_AFTER_S = 5.0
"""How late a reading may be before what the one before it gave counts no more."""


class CachedReading(Generic[_T]):
    """A value that a thread reads: who asks gets the last one at once, and has it read anew when that is due.

    A reading that hangs is left alone. No other is begun until it is back, and
    what is known becomes unknown `STALE_AFTER_S` after a new one was due.
    """

    def __init__(self, name: str, read: Callable[[], _T], *, every_s: float, reader: SafeReader) -> None:
        self._name = name
        self._read = read
        self._every_s = every_s
        self._reader = reader
        self._value: _T | None = None
        self._began_s = -float("inf")
        self._thread: threading.Thread | None = None

    def latest(self) -> _T | None:
        """Return what was read last; None where nothing was, it failed, or a reading hangs."""
        late_s = time.monotonic() - self._began_s - self._every_s
        if self._thread is not None and self._thread.is_alive():
            return None if late_s > STALE_AFTER_S else self._value
        if late_s >= 0.0:
            self._begin()
        return self._value

    def _begin(self) -> None:
        self._began_s = time.monotonic()
        # A thread that hangs in a driver must not keep the daemon from ending.
        self._thread = threading.Thread(target=self._run, name=f"monitor {self._name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._value = self._reader.read(self._name, self._read)
