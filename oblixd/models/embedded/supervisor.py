"""Keeps the embedded model's process: loaded when needed, unloaded when idle, loaded again when it died."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from oblixd.models.base import ModelError, ModelErrorKind, State, Status
from oblixd.models.embedded.memory import Memory
from oblixd.models.embedded.process import Worker, WorkerError

CRASHES = 3
"""So many deaths or failed starts within `CRASH_WINDOW_S`, and it is left alone."""
CRASH_WINDOW_S = 60.0
REST_S = 30.0
"""How long it is then left alone after the last."""
_SHUT_DOWN = "is shut down with the daemon"
logger = logging.getLogger(__name__)


class Supervisor:
    """At most one process, whoever asks and however many at once."""

    def __init__(
        self,
        title: str,
        start: Callable[[], Awaitable[Worker]],
        memory: Memory,
        *,
        idle_unload_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`start` takes from `memory` what its process needs; it is given back here."""
        self.title = title
        self._start = start
        self._memory = memory
        self._idle_since_s = clock()
        self._idle_unload_s = idle_unload_s
        self._clock = clock
        self._worker: Worker | None = None
        self._loading: asyncio.Task[Worker] | None = None
        self._unloading: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._users = 0
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process that runs now, if one does."""
        return self._worker.pid if self._worker is not None and self._worker.alive else None

    @property
    def idle_since_s(self) -> float | None:
        """See `Resident.idle_since_s`."""
        return self._idle_since_s if self._worker is not None and not self._users else None

    def leave(self) -> None:
        """See `Resident.leave`."""
        self._stop_timer()
        self._unload()

    def status(self) -> Status:
        """Say what the next prompt would find."""
        if self.pid is not None:
            return Status(State.READY)
        if self._loading is not None:
            return Status(State.LOADING)
        rest_s = self._rest_s()
        return Status(State.UNAVAILABLE, f"It {_resting_text(rest_s)}.") if rest_s else Status(State.IDLE)

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Worker]:
        """Give a process that serves, loading it where needed, and keep it for as long as the block lasts.

        Raises ModelError.
        """
        self._users += 1
        self._stop_timer()
        try:
            yield await self._ready_worker()
        finally:
            self._users -= 1
            if not self._users:
                self._rest()

    def note_death(self, how: str) -> ModelError:
        """Note that the process ended under a running answer, and say so."""
        if self._closed:
            return self._failure(_SHUT_DOWN)
        self._crashes.append(self._clock())
        logger.warning("the process of %s died in the middle of an answer (%s)", self.title, how)
        return self._failure(f"broke off: its process died ({how}); it is restarted with the next prompt")

    async def close(self) -> None:
        """End the process. Running answers fail."""
        self._closed = True
        self._stop_timer()
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        self._unload()
        if self._unloading is not None:
            await self._unloading

    async def _ready_worker(self) -> Worker:
        if self._worker is not None and self._worker.alive:
            return self._worker
        loading = self._loading or self._begin_loading()
        # Whoever stops waiting does not stop the loading: others wait for it, too.
        await asyncio.wait([loading])
        if loading.cancelled():
            raise self._failure(_SHUT_DOWN)
        return loading.result()

    def _begin_loading(self) -> asyncio.Task[Worker]:
        if self._closed:
            raise self._failure(_SHUT_DOWN)
        if rest_s := self._rest_s():
            raise self._failure(_resting_text(rest_s), retry_after_s=rest_s)
        self._unload()
        self._loading = asyncio.create_task(self._load())
        self._loading.add_done_callback(self._loaded)
        return self._loading

    async def _load(self) -> Worker:
        if self._unloading is not None:
            await self._unloading
        try:
            self._worker = await self._start()
        except (WorkerError, OSError) as error:
            self._crashes.append(self._clock())
            raise self._failure(f"could not be loaded: {error}") from error
        finally:
            if self._worker is None:
                self._memory.release(self)
        return self._worker

    def _loaded(self, loading: asyncio.Task[Worker]) -> None:
        if self._loading is loading:
            self._loading = None
        if not loading.cancelled() and (error := loading.exception()):
            logger.warning("%s", error)
        if not self._users:
            self._rest()

    def _rest(self) -> None:
        """Nobody uses it now."""
        self._idle_since_s = self._clock()
        if self._loading is not None and not self._memory.held_bytes(self):
            # Nobody waits any more for room that others would have to make.
            self._loading.cancel()
            self._loading = None
        self._start_timer()
        self._memory.rests(self)

    def _unload(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            self._unloading = asyncio.create_task(self._end(worker))

    async def _end(self, worker: Worker) -> None:
        try:
            await worker.stop()
        finally:
            self._memory.release(self)

    def _start_timer(self) -> None:
        self._stop_timer()
        if not self._users and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(self._idle_unload_s, self._unload)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _failure(self, what: str, *, retry_after_s: float | None = None) -> ModelError:
        return ModelError(ModelErrorKind.FAILED, f"{self.title} {what}.", retry_after_s=retry_after_s)

    def _rest_s(self) -> float:
        too_often = len(self._crashes) == CRASHES and self._crashes[-1] - self._crashes[0] <= CRASH_WINDOW_S
        return max(0.0, self._crashes[-1] + REST_S - self._clock()) if too_often else 0.0


def _resting_text(rest_s: float) -> str:
    often = f"failed {CRASHES} times within {CRASH_WINDOW_S:.0f} s"
    return f"{often} and is left alone for {rest_s:.0f} s; the daemon's log says why"
