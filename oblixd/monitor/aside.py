"""Reading what may take long, or never come back, without waiting for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from oblixd.monitor.known import Known

_T = TypeVar("_T")
STALE_AFTER_S = 5.0
"""How late a reading may be before what the one before it gave counts no more."""


class Aside(Generic[_T]):
    """A value that a thread reads: who asks gets the last one at once, and has it read anew when that is due.

    A reading that hangs is left alone. No other is begun until it is back, and
    what is known becomes unknown `STALE_AFTER_S` after a new one was due.
    """

    def __init__(self, name: str, read: Callable[[], _T], *, every_s: float, known: Known) -> None:
        self._name = name
        self._read = read
        self._every_s = every_s
        self._known = known
        self._value: _T | None = None
        self._began_s = -float("inf")
        self._thread: threading.Thread | None = None

    def latest(self) -> _T | None:
        """What was read last; None where nothing was, it failed, or a reading hangs."""
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
        self._value = self._known.read(self._name, self._read)
