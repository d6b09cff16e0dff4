"""Connections that nobody holds any more: kept a while for who comes back, closed after their last stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable

from oblixd.models.base import Connection
from oblixd.models.hooks import HookSpec

LINGER_S = 300.0
"""How long a connection is kept whose last client left: the next process in a shell finds it open."""


class Leases:
    """Who still means to use a connection, whether any client holds it or not."""

    def __init__(self) -> None:
        self._waiting: dict[Connection, list[asyncio.Event]] = {}

    def take(self, connections: Iterable[Connection]) -> Callable[[], None]:
        """Hold connections until what is returned is called."""
        taken, ended = list(connections), asyncio.Event()
        for connection in taken:
            self._waiting.setdefault(connection, []).append(ended)

        def give_back() -> None:
            ended.set()
            for connection in taken:
                self._waiting[connection].remove(ended)
                if not self._waiting[connection]:
                    del self._waiting[connection]

        return give_back

    async def none(self, connection: Connection) -> None:
        """Return once nobody means to use it."""
        while connection in self._waiting:
            await self._waiting[connection][0].wait()


class Leaving:
    """Sees connections off. Belongs to one event loop."""

    def __init__(self) -> None:
        self.leases = Leases()
        """Who keeps a connection from being closed."""
        self._going: dict[asyncio.Task[None], Connection] = {}
        self._lingering: dict[HookSpec, asyncio.Task[None]] = {}

    @property
    def connections(self) -> list[Connection]:
        """Those that are not closed yet."""
        return list(self._going.values())

    def retire(self, connection: Connection) -> None:
        """Close it when nobody means to use it any more, and its last stream has ended."""
        self._start(connection, self._retire(connection))

    def linger(self, spec: HookSpec, connection: Connection) -> None:
        """Do so after `LINGER_S`, unless somebody takes it back."""
        self._lingering[spec] = self._start(connection, self._later(spec, connection))

    def take_back(self, spec: HookSpec) -> Connection | None:
        """Give the connection of this spec that lingers, where there is one."""
        task = self._lingering.pop(spec, None)
        if task is None:
            return None
        task.cancel()
        return self._going[task]

    async def close(self) -> None:
        """Close all of them now. Running streams fail."""
        going = dict(self._going)
        for task in going:
            task.cancel()
        await asyncio.gather(*(connection.close() for connection in going.values()))
        if going:
            await asyncio.wait(going)

    def _start(self, connection: Connection, leaving: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(leaving)
        self._going[task] = connection
        task.add_done_callback(self._going.pop)
        return task

    async def _later(self, spec: HookSpec, connection: Connection) -> None:
        await asyncio.sleep(LINGER_S)
        del self._lingering[spec]
        await self._retire(connection)

    async def _retire(self, connection: Connection) -> None:
        await self.leases.none(connection)
        await connection.retire()
