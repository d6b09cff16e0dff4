"""Keeps the latest snapshot at hand.

The snapshots of the last minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from oblixd import background
from oblixd.monitor.network import Network
from oblixd.monitor.network.network import CHECK_INTERVAL_S
from oblixd.monitor.network.probe import Target
from oblixd.monitor.sampler import Sampler
from oblixd.monitor.snapshot import Connectivity, Resources, Snapshot

KEPT_S = 900.0
MOST = 2000
_APART_S = 0.9
"""One a second, and a little early is early enough."""


class History:
    """Keeps one snapshot a second, for fifteen minutes."""

    def __init__(self) -> None:
        self._snapshots: deque[Snapshot] = deque(maxlen=MOST)

    def add(self, snapshot: Snapshot) -> None:
        """Keep it, if the one before is a second old."""
        if self._snapshots and snapshot.monotonic_s - self._snapshots[-1].monotonic_s < _APART_S:
            return
        self._snapshots.append(snapshot)
        while snapshot.monotonic_s - self._snapshots[0].monotonic_s > KEPT_S:
            self._snapshots.popleft()

    def since(self, monotonic_s: float) -> list[Snapshot]:
        """Return the snapshots that were made then or later, oldest first."""
        return [snapshot for snapshot in self._snapshots if snapshot.monotonic_s >= monotonic_s]


FIRST_PAUSE_S = 0.1
"""CPU use over a shorter time means nothing."""
IDLE_AFTER_S = 30.0
IDLE_SLOWDOWN = 5.0


def _none() -> Sequence[str]:
    return ()


def _nobody() -> Sequence[int]:
    return ()


class Monitor:
    """Samples in the background: every `interval_s` while somebody reads, a fifth as often when nobody does.

    Nobody reads when for 30 seconds nothing asked for a snapshot or watched.
    The next one who asks has it sampled anew at once, and gets what is there.
    Used on its event loop only.

    `own_pids` gives the processes of our own models, `origins` the servers of
    cloud models that are worth probing, `target_of` what is probed for one of
    them, `local_origins` those of models on
    this machine, and `data` is on the disk whose room is told.
    """

    def __init__(
        self,
        *,
        interval_s: float = 1.0,
        own_pids: Callable[[], Iterable[int]] = _nobody,
        check_interval_s: float = CHECK_INTERVAL_S,
        origins: Callable[[], Collection[str]] = _none,
        target_of: Callable[[str], Target] = Target.of,
        local_origins: Callable[[], Iterable[str]] = _none,
        data: Path = Path("/"),
    ) -> None:
        self._interval_s = max(interval_s, FIRST_PAUSE_S)
        self._sampler = Sampler(own_pids, local_origins, data)
        self.network = Network(origins, target_of=target_of, check_interval_s=check_interval_s)
        self.network.on_change = self._network_changed
        self._history = History()
        self._snapshot = Snapshot(None, time.monotonic(), Resources(), Connectivity())
        self._change_event = asyncio.Event()
        self._wake_event = asyncio.Event()
        # Nobody asked yet: a start alone is no use.
        self._wanted_s = time.monotonic() - IDLE_AFTER_S
        self._watchers = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Take the first sample and go on in the background."""
        self.network.start()
        self._sample()
        self._task = background.begin(self._run(), "monitor")

    def latest(self) -> Snapshot:
        """Return what was measured last. Measures nothing."""
        self._want()
        return self._snapshot

    def history(self, seconds: float) -> Sequence[Snapshot]:
        """Return the snapshots of the last seconds, oldest first: one a second, at most fifteen minutes."""
        self._want()
        return self._history.since(time.monotonic() - seconds)

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        """Yield the latest snapshot, then each new one until `close`. A slow reader may miss older ones."""
        self._watchers += 1
        try:
            while not self._closed:
                self._want()
                seen, changed = self._snapshot, self._change_event
                yield seen
                await changed.wait()
        finally:
            self._watchers -= 1

    async def close(self) -> None:
        """Stop sampling and end every watch."""
        self._closed = True
        self._change_event.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.network.close()

    async def _run(self) -> None:
        await asyncio.sleep(FIRST_PAUSE_S)
        while True:
            self._sample()
            await self._pause()

    async def _pause(self) -> None:
        self._wake_event.clear()
        if self._is_used():
            await asyncio.sleep(self._interval_s)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(background.until_tick_s(self._interval_s * IDLE_SLOWDOWN)):
                await self._wake_event.wait()
        if (missing_s := self._snapshot.monotonic_s + FIRST_PAUSE_S - time.monotonic()) > 0:
            await asyncio.sleep(missing_s)

    def _sample(self) -> None:
        resources, own_load = self._sampler.sample()
        self._publish(
            Snapshot(
                time_s=time.time(),
                monotonic_s=time.monotonic(),
                resources=resources,
                connectivity=self.network.overall(),
                own_load_average=own_load,
                endpoints=self.network.endpoints(),
            )
        )
        self._history.add(self._snapshot)

    def _network_changed(self) -> None:
        """Tell at once, with the resources as they were."""
        network = self.network
        self._publish(replace(self._snapshot, connectivity=network.overall(), endpoints=network.endpoints()))

    def _publish(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        changed, self._change_event = self._change_event, asyncio.Event()
        changed.set()

    def _want(self) -> None:
        self._wanted_s = time.monotonic()
        self._wake_event.set()
        self.network.want()

    def _is_used(self) -> bool:
        return self._watchers > 0 or time.monotonic() - self._wanted_s < IDLE_AFTER_S
