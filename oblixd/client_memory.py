"""The memory that is taken for clients: one budget in bytes, by client and in all.

What counts is what a client can make larger: requests that are being worked on, prompts that wait or run,
answers that are written or ended lately, and responses that were not read yet. A large request beyond the
budget is refused with what to do; nobody waits for room, so nobody can hold up others by keeping some.

Where a request is weighed: gRPC hands out whole messages, of at most 16 MiB. So only a few may arrive at
the same time (`Turns`), each is weighed as soon as it is there, and what is refused is dropped at once. What
does not arrive yet stays with its sender.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from oblixd.errors import ResourceExhaustedError

MIB = 1 << 20
DEFAULT_MIB = 96
SMALL_BYTES = 64 << 10
"""What is smaller is small: it is let in also where only the reserve is left."""
RESERVE_BYTES = 8 * MIB
"""Kept for small requests, so that large ones do not keep them out."""


class ClientMemory:
    """Counts what is held. A client may have half of it, so that one alone keeps nobody out."""

    def __init__(self, limit: int = DEFAULT_MIB * MIB) -> None:
        self.limit = limit
        """Bytes, in all."""
        self.client_limit = limit // 2
        self.total_bytes = 0
        """Bytes that are held now."""
        self.reclaim: Callable[[int], None] = lambda _bytes: None
        """Called with the bytes that are missing: let go of what is only kept in case that somebody asks."""
        self._clients: dict[str, int] = {}

    def share(self, client: str | None = None) -> Share:
        """Make what one execution of a client holds, or a call (None): empty at first.

        A call is over soon, and few large ones are let in at the same time: it counts only in all.
        """
        return Share(self, client)

    def held_bytes(self, client: str) -> int:
        """Bytes that are held for a client."""
        return self._clients.get(client, 0)

    def take(self, client: str | None, size: int) -> None:
        """Count some more. Raises ResourceExhaustedError MEMORY_FULL where there is no room."""
        self.check(client, size)
        reserve = _reserve(size)
        if (missing := self.total_bytes + size - (self.limit - reserve)) > 0:
            self.reclaim(missing)
            if self.total_bytes + size > self.limit - reserve:
                raise _full_error("all clients", self.limit, self.total_bytes, size)
        self.add(client, size)

    def check(self, client: str | None, size: int) -> None:
        """Raise ResourceExhaustedError MEMORY_FULL where a client can't have so much more."""
        if client is not None and self.held_bytes(client) + size > self.client_limit - _reserve(size) // 2:
            raise _full_error("this client", self.client_limit, self.held_bytes(client), size)

    def add(self, client: str | None, size: int) -> None:
        """Count some more, or less, for a client (None: nobody's), whatever room there is."""
        self.total_bytes += size
        if client is None:
            return
        left = self.held_bytes(client) + size
        if left:
            self._clients[client] = left
        else:
            self._clients.pop(client, None)


class Share:
    """What one call or one execution holds of the memory. Use as `with share:`, or call `release`."""

    __slots__ = ("_client", "_memory", "size")

    def __init__(self, memory: ClientMemory, client: str | None) -> None:
        self._memory = memory
        self._client = client
        self.size = 0
        """Bytes."""

    def take(self, size: int) -> None:
        """Hold some more. Raises ResourceExhaustedError MEMORY_FULL where there is no room."""
        self._memory.take(self._client, size)
        self.size += size

    def give_back(self, size: int) -> None:
        """Hold less."""
        self._memory.add(self._client, -size)
        self.size -= size

    def hold_only(self, size: int) -> None:
        """Hold so much from now on, which may be more than there is room for: it is there already."""
        if size != self.size:
            self._memory.add(self._client, size - self.size)
            self.size = size

    def keep(self, size: int) -> None:
        """Hold so much from now on, as nobody's: it is kept only in case that somebody asks."""
        self.release()
        self._client = None
        self.hold_only(size)

    def move(self, client: str) -> Share:
        """Hand over all of it to what holds the same for a client from now on: this one is empty afterwards.

        Raises ResourceExhaustedError MEMORY_FULL where the client can't have so much.
        """
        self._memory.check(client, self.size)
        heir, size = Share(self._memory, client), self.size
        self.release()
        heir.hold_only(size)
        return heir

    def release(self) -> None:
        """Hold nothing more."""
        self.hold_only(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


CALL: ContextVar[Share | None] = ContextVar("call", default=None)
"""What the call that runs here holds: an execution that it begins takes it over."""


class Turns:
    """Lets so many bytes, or things, be worked on at the same time; the others wait in order of arrival.

    Something larger than all of it goes alone.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken_bytes = 0
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def enter(self, size: int = 1) -> Turn:
        """Wait for the turn. It is held until `leave` is called."""
        size = min(size, self._limit)
        if self._waiters or self._taken_bytes + size > self._limit:
            await self._wait(size)
        else:
            self._taken_bytes += size
        return Turn(lambda: self._leave(size))

    async def _wait(self, size: int) -> None:
        waiter = (size, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            await waiter[1]
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
                self._hand_out()
            else:
                self._leave(size)
            raise

    def _leave(self, size: int) -> None:
        self._taken_bytes -= size
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiters and self._taken_bytes + self._waiters[0][0] <= self._limit:
            size, waiter = self._waiters.popleft()
            self._taken_bytes += size
            if not waiter.done():
                waiter.set_result(None)


class Turn:
    """A turn that is held."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._leave: Callable[[], None] | None = on_end

    def leave(self) -> None:
        """Let the next one in. Later calls do nothing."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    def leave_after(self, seconds: float) -> asyncio.TimerHandle:
        """Leave by itself after so long, unless the timer that is returned is cancelled before."""
        return asyncio.get_running_loop().call_later(seconds, self.leave)


def give_large_blocks_back() -> None:
    """Have the C library give large blocks back to the system when they are freed.

    Left alone glibc keeps them once one was freed: its threshold grows with what it sees, see mallopt(3).
    Other C libraries have no such call, or need none.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, 256 << 10)
        library.mallopt(_M_ARENA_MAX, 2)


def give_free_memory_back() -> None:
    """Give what the C library holds in pieces back to the system, too: malloc_trim(3), some milliseconds."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
"""The numbers of malloc.h."""


def _reserve(size: int) -> int:
    return RESERVE_BYTES if size > SMALL_BYTES else 0


def _full_error(whose: str, limit: int, held_bytes: int, wanted_bytes: int) -> ResourceExhaustedError:
    message = (
        f"The daemon holds {held_bytes / MIB:.1f} MiB for {whose}, and {wanted_bytes / MIB:.1f} MiB more "
        f"would pass the limit of {limit / MIB:.0f} MiB. Send it again once earlier prompts and calls have "
        "ended, or raise client_memory_mib in the [daemon] section of the configuration."
    )
    return ResourceExhaustedError("MEMORY_FULL", message, limit=limit, held=held_bytes, given=wanted_bytes)
