"""Blocking gRPC calls, awaited from any event loop.

The synchronous gRPC API is used under everything: unlike `grpc.aio` it works
from any thread, in any number of loops, and after a fork. A unary call costs no
thread; a stream has one of its own for as long as it runs. Each call of a stream runs on the thread that
reads it ("single-threaded" in gRPC's words), which saves a thread and half of the hand-overs.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import grpc

from oblix._transport.errors import our_errors
from oblix._transport.workers import workers

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MAX_WAITING = 256
"""Answers that are read ahead of a loop that is slow. After that the daemon has to wait."""
MAX_UNTOLD = MAX_WAITING // 2
"""Answers that wait for one that is worth waking the loop."""


class Stream(Protocol[T_co]):
    """A running call that answers with a stream."""

    def __next__(self) -> T_co: ...
    def cancel(self) -> bool: ...


async def in_thread(work: Callable[[], T]) -> T:
    """Await blocking work. It runs in a daemon thread, which never holds up the end of the program."""
    result: Future[T] = Future()

    def run() -> None:
        if result.set_running_or_notify_cancel():
            try:
                result.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised where the work is awaited
                result.set_exception(error)

    workers.run(run)
    return await asyncio.wrap_future(result)


def in_place(work: Callable[[], T]) -> T:
    """Do blocking work where it is: what `in_thread` is for the calls that are not async."""
    return work()


def run_async(work: Awaitable[T]) -> T:
    """Run a coroutine to its end in an event loop of its own, also inside a running event loop."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(asyncio.run(run_awaitable(work)))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is wanted
            result.set_exception(error)

    workers.run(run)
    return result.result()


async def run_awaitable(work: Awaitable[T]) -> T:
    """Await a coroutine: what `run_async` is for the calls that are async."""
    return await work


async def answer_of(call: grpc.Future[T], pid: int = 0) -> T:
    """Await a unary call to a process. Cancelling the task cancels the call. Raises OblixError."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def announce(_: grpc.Future[T]) -> None:
        _post(loop, done.set)

    call.add_done_callback(announce)
    try:
        await done.wait()
    finally:
        call.cancel()
    with our_errors(pid):
        return call.result()


def _post(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> bool:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:  # the loop is closed: nobody waits for it any more
        return False
    return True


@dataclass(frozen=True, slots=True)
class _End:
    error: Exception | None = None


class Reader(Generic[T]):
    """Reads a stream in a thread of its own and hands it to the event loop that made it.

    What arrives while the loop is busy is handed over together. Close it: that
    cancels the call, and the thread ends.
    """

    def __init__(self, call: Stream[T], wakes: Callable[[T], bool] | None = None) -> None:
        """`wakes` says which answers the reader waits for: the others come with the next one, or the end."""
        self._call = call
        self._wakes = wakes
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._is_posted = False
        self._waiting: deque[T | _End] = deque()
        self._room = threading.Semaphore(MAX_WAITING)
        workers.run(self._read)

    def __aiter__(self) -> Reader[T]:
        return self

    async def __anext__(self) -> T:
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        item = self._waiting.popleft()
        if not isinstance(item, _End):
            self._room.release()
            return item
        self._waiting.append(item)
        with our_errors():
            raise item.error or StopAsyncIteration

    async def aclose(self) -> None:
        """Cancel the call. Harmless where it has ended."""
        self._call.cancel()
        self._room.release()

    def _read(self) -> None:
        end = _End()
        try:
            while self._room.acquire() and self._hand_over(next(self._call)):
                pass
            self._call.cancel()
        except StopIteration:
            pass
        except Exception as error:  # noqa: BLE001 - it is raised where the stream is read
            end = _End(error)
        self._hand_over(end)

    def _hand_over(self, item: T | _End) -> bool:
        self._waiting.append(item)
        if self._is_posted or not self._is_worth_waking(item):
            return not self._loop.is_closed()
        self._is_posted = True
        return _post(self._loop, self._announce)

    def _is_worth_waking(self, item: T | _End) -> bool:
        if self._wakes is None or isinstance(item, _End) or len(self._waiting) >= MAX_UNTOLD:
            return True
        return self._wakes(item)

    def _announce(self) -> None:
        self._is_posted = False
        self._arrived.set()
