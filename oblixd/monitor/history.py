"""The snapshots of the last minutes."""

from __future__ import annotations

from collections import deque

from oblixd.monitor.types import Snapshot

KEPT_S = 900.0
MOST = 2000
_APART_S = 0.9
"""One a second, and a little early is early enough."""


class History:
    """Keeps one snapshot a second, for fifteen minutes."""

    def __init__(self) -> None:
        self._kept: deque[Snapshot] = deque(maxlen=MOST)

    def add(self, snapshot: Snapshot) -> None:
        """Keep it, if the one before is a second old."""
        if self._kept and snapshot.monotonic_s - self._kept[-1].monotonic_s < _APART_S:
            return
        self._kept.append(snapshot)
        while snapshot.monotonic_s - self._kept[0].monotonic_s > KEPT_S:
            self._kept.popleft()

    def since(self, monotonic_s: float) -> list[Snapshot]:
        """Those that were made then or later, oldest first."""
        return [snapshot for snapshot in self._kept if snapshot.monotonic_s >= monotonic_s]
