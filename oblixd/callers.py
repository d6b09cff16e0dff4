"""Who calls: kept for an hour, for fairness, for hooks and for the idle exit."""

from __future__ import annotations

import time
from collections.abc import Callable

REMEMBERED_S = 3600.0


class Callers:
    """The clients that called lately, by the name that each gave itself."""

    def __init__(self, on_call: Callable[[str], None]) -> None:
        self._on_call = on_call
        self._last_s: dict[str, float] = {}
        self.last_s = time.monotonic()
        """When anybody called last, on the monotonic clock."""

    def called(self, client: str) -> None:
        """Hear of a call."""
        self.last_s = time.monotonic()
        # Moved to the end: the dict stays in order of the last call.
        self._last_s.pop(client, None)
        self._last_s[client] = self.last_s
        self._on_call(client)

    def count(self) -> int:
        """Clients that called within the last hour."""
        oldest_s = time.monotonic() - REMEMBERED_S
        for client, last_s in list(self._last_s.items()):
            if last_s >= oldest_s:
                break
            del self._last_s[client]
        return len(self._last_s)
