"""Why a daemon ends by itself: nobody uses it, nobody can reach it any more, or its event loop stands still.

Who calls: kept for an hour, for fairness, for hooks and for the idle exit.
"""

from __future__ import annotations

import asyncio
import enum
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from oblixd import background

CHECK_INTERVAL_S = 5.0
"""How often the socket and the store are looked for. Each look wakes a daemon at rest."""


async def until_idle(
    idle_exit_s: float, last_call_s: Callable[[], float], is_used: Callable[[], bool]
) -> None:
    """Return once nobody called for so long and nothing runs. `last_call_s` is on the monotonic clock."""
    idle_s = 0.0
    while idle_s < idle_exit_s:
        await asyncio.sleep(idle_exit_s - idle_s)
        idle_s = 0.0 if is_used() else time.monotonic() - last_call_s()


class Lost(enum.Enum):
    """What a daemon can't work without."""

    SOCKET = enum.auto()
    STORE = enum.auto()


async def until_lost(socket: Path, has_store: Callable[[], bool]) -> Lost:
    """Return once the socket that we listen on, or the store's file, is gone or is another one.

    Somebody who cleans up, or removes the directory, makes a daemon deaf: it would hold the lock for
    ever, and no client could reach it or start another. What is written to a file that was removed
    is lost. Both are looked for in one turn of the loop, which is most of what a daemon at rest does.
    """
    ours = _identity(socket)
    while has_store():  # nothing announces that a file was removed
        if _identity(socket) != ours:
            return Lost.SOCKET
        await asyncio.sleep(background.until_tick_s(CHECK_INTERVAL_S))
    return Lost.STORE


STALL_S = 60.0
"""How long the event loop may stand still."""
STALLED = 70
"""The exit code of a process whose event loop stood still (EX_SOFTWARE of sysexits.h)."""


class StallWatch:
    """Ends this process where its event loop stands still, from a thread of its own.

    A daemon that stands still holds the lock: no client is answered, SIGTERM does nothing, and no other
    daemon can start. What was acknowledged is in the store, so the next start goes on from there.

    Time counts by this thread's own looks. A process that was stopped, or a machine that slept, has not
    stood still.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_s: float = STALL_S, looks: int = 6) -> None:
        """End it after `looks` looks without an answer of the loop, which take `limit_s` together."""
        self._loop = loop
        self._limit_s, self._looks = limit_s, looks
        self._has_answered = False
        self._stop = threading.Event()
        threading.Thread(target=self._run, name="stall-watch", daemon=True).start()

    def close(self) -> None:
        """Look no more. Before the loop ends."""
        self._stop.set()

    def _run(self) -> None:
        missed = 0
        while not self._stop.wait(self._limit_s / self._looks):
            missed = 0 if self._has_answered else missed + 1
            if missed > self._looks:
                self._end()
            self._has_answered = False
            try:
                self._loop.call_soon_threadsafe(self._answer)
            except (RuntimeError, MemoryError):  # it is closed; or there is no memory, so it is a miss
                continue

    def _answer(self) -> None:
        self._has_answered = True

    def _end(self) -> None:
        # Not by `logging`, whose locks a thread that stands still may hold.
        message = f"the event loop stood still for {self._limit_s:.0f} s, so this daemon ends. Its threads:\n"
        os.write(sys.stderr.fileno(), message.encode())
        faulthandler.dump_traceback(sys.stderr, all_threads=True)
        os._exit(STALLED)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - one system call a second, for as long as the daemon lives
    except OSError:
        return None
    return found.st_dev, found.st_ino


REMEMBERED_S = 3600.0


class Clients:
    """The clients that called lately, by the name that each gave itself."""

    def __init__(self, on_call: Callable[[str], None]) -> None:
        self._on_call = on_call
        self._last_s: dict[str, float] = {}
        self.last_s = time.monotonic()
        """When anybody called last, on the monotonic clock."""
        self.first_call = asyncio.Event()
        """Set once somebody has called."""

    def called(self, client: str) -> None:
        """Hear of a call."""
        self.last_s = time.monotonic()
        self.first_call.set()
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
