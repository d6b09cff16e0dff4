"""Threads that wait for work: a stream that follows another one finds a thread that is there already."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable

IDLE_S = 10.0
"""How long a thread waits for more work before it ends."""
Work = Callable[[], object]


class Workers:
    """Daemon threads, which never hold up the end of the program. Each runs one piece of work at a time."""

    def __init__(self) -> None:
        self._reset()
        # A forked child has none of its parent's threads.
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._idle: deque[queue.SimpleQueue[Work]] = deque()

    def run(self, work: Work) -> None:
        """Run work in an idle thread, or in a new one. The work must not raise."""
        with self._lock:
            inbox = self._idle.pop() if self._idle else None
        if inbox is None:
            inbox = queue.SimpleQueue()
            threading.Thread(target=self._serve, args=(inbox,), name="oblix-work", daemon=True).start()
        inbox.put(work)

    def _serve(self, inbox: queue.SimpleQueue[Work]) -> None:
        while True:
            try:
                work = inbox.get(timeout=IDLE_S)
            except queue.Empty:
                if self._is_retired(inbox):
                    return
                continue
            work()
            del work
            with self._lock:
                self._idle.append(inbox)

    def _is_retired(self, inbox: queue.SimpleQueue[Work]) -> bool:
        """Take a thread off the idle ones. False where work is on its way to it."""
        with self._lock:
            if inbox in self._idle:
                self._idle.remove(inbox)
                return True
        return False


workers = Workers()
"""This process's threads, shared by all clients."""
