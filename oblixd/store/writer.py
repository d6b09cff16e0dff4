"""The one thread that writes. It commits what waits in groups: many operations, one sync."""

from __future__ import annotations

import asyncio
import errno
import logging
import queue
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import lmdb

from oblixd.errors import (
    DataLossError,
    OblixdError,
    ResourceExhaustedError,
    UnavailableError,
    from_exception,
)
from oblixd.failpoints import reach
from oblixd.store.quota import Quota, full_error
from oblixd.store.table import Transaction

logger = logging.getLogger(__name__)

Operation: TypeAlias = Callable[[Transaction], Any]

GATHER_SECONDS = 0.008
"""How long a write waits for others that it can share a sync with, where its caller says that they come."""
GROUP_SECONDS = 0.01
"""A group is closed after this time, so that who waits in it does not wait for all who came later."""

NEARLY_FULL_BYTES = 2**25
"""On a disk with less room a write that fails for no known reason failed for that: liblmdb, which could
write only a part, says that it was an input/output error."""


@dataclass(slots=True)
class _Write:
    operation: Operation
    done: asyncio.Future[Any]
    frees: bool
    """It gives room back, at once or soon: it may use the pages that are kept for that."""
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Runs write operations on a thread of its own, in the order of their coming.

    An operation may be run more than once: when one of a group fails, the group is
    aborted and each of its operations runs alone, so that a bad one hurts nobody.
    What was handed over is carried out also when nobody waits for it any more.
    """

    def __init__(
        self,
        open_environment: Callable[[], lmdb.Environment],
        quota: Quota,
        check_file: Callable[[], None] = lambda: None,
    ) -> None:
        self.on_commit: Callable[[], None] = lambda: None
        """Called on the loop after each group that was written."""
        self.on_full: Callable[[], None] = lambda: None
        """Called on the loop after writes of which one was refused for want of room in the store."""
        self.failure: UnavailableError | None = None
        """Why nothing can be read or written any more until the file is opened again. None: all is well."""
        self._quota = quota
        self._check_file = check_file
        self._loop = asyncio.get_running_loop()
        self._pending: list[_Write] = []
        self._next_handover: asyncio.Handle | None = None
        """What hands them over."""
        self._queue: queue.SimpleQueue[Sequence[_Write] | Operation | None] = queue.SimpleQueue()
        self._backlog: deque[_Write] = deque()
        self._idle: deque[Operation] = deque()
        self._group: list[_Write] = []
        self._refusal: UnavailableError | None = None
        self._open_result: asyncio.Future[lmdb.Environment] = self._loop.create_future()
        self._close_result: asyncio.Future[None] = self._loop.create_future()
        # A daemon thread: a process that forgets to close must still be able to end.
        self._thread = threading.Thread(
            target=self._run, args=(open_environment,), name="store-writer", daemon=True
        )

    async def start(self) -> lmdb.Environment:
        """Open the environment on the writer's thread, which alone may close it."""
        self._thread.start()
        return await self._open_result

    def submit(
        self, operation: Operation, frees: bool = False, *, gathers: bool = False
    ) -> asyncio.Future[Any]:
        """Queue an operation. The result is there once it is durable.

        `frees`: it gives room back, and may use the pages that are kept back for that. `gathers`: it waits
        for others for `GATHER_SECONDS`, or until one comes that does not wait: together they take one sync.
        """
        if self._refusal is not None:
            raise self._refusal
        write = _Write(operation, self._loop.create_future(), frees)
        self._pending.append(write)
        self._hand_over_soon(gathers=gathers)
        return write.done

    def failure_by(self, error: lmdb.Error) -> UnavailableError | None:
        """Note an error after which this process can neither read nor write. None: it is another one."""
        if isinstance(error, _FATAL):
            self._refusal = self.failure = _broken(error)
        return self.failure

    def submit_idle(self, operation: Operation) -> None:
        """Queue work for when nothing else waits. It runs again for as long as it returns True."""
        self._queue.put(operation)

    async def stop(self) -> None:
        """Carry out what is queued, close the environment and end the thread."""
        self._refusal = closed_error()
        # Who listens would read a file that is being closed.
        self.on_commit = lambda: None
        self._hand_over()
        self._queue.put(None)
        await self._close_result
        self._thread.join()

    def _hand_over_soon(self, *, gathers: bool) -> None:
        """Hand over together what comes in one round of the loop, or in a while: one group, one sync."""
        is_timer = isinstance(self._next_handover, asyncio.TimerHandle)
        if self._next_handover is not None and (gathers or not is_timer):
            return
        if self._next_handover is not None:
            self._next_handover.cancel()
        if gathers:
            self._next_handover = self._loop.call_later(GATHER_SECONDS, self._hand_over)
        else:
            self._next_handover = self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._next_handover = None
        if self._pending:
            self._queue.put(self._pending)
            self._pending = []

    def _run(self, open_environment: Callable[[], lmdb.Environment]) -> None:
        try:
            environment = open_environment()
        except (OblixdError, lmdb.Error, OSError) as error:
            self._loop.call_soon_threadsafe(_settle, self._open_result, None, translate(error))
            return
        self._loop.call_soon_threadsafe(_settle, self._open_result, environment, None)
        try:
            while self._receive():
                self._write_group(environment)
            environment.close()
        except BaseException:
            logger.critical("the store's writer died: nothing more is written", exc_info=True)
            self._loop.call_soon_threadsafe(self._give_up)
        self._loop.call_soon_threadsafe(_settle, self._close_result, None, None)

    def _give_up(self) -> None:
        """Tell everybody who waits, and whoever comes, that nothing is written any more."""
        self._refusal = self.failure = _dead_error()
        self._hand_over()
        while not self._queue.empty():
            if isinstance(item := self._queue.get(), Sequence):
                self._backlog.extend(item)
        for write in (*self._group, *self._backlog):
            _settle(write.done, None, self._refusal)

    def _receive(self) -> bool:
        """Take in what has come; wait only where there is nothing to do. False: stop."""
        block = not self._backlog and not self._idle
        try:
            while True:
                item = self._queue.get(block=block)
                block = False
                if item is None:
                    self._idle.clear()
                    self._queue.put(None)
                    return bool(self._backlog)
                self._add_to_backlog(item)
        except queue.Empty:
            return True

    def _add_to_backlog(self, item: Sequence[_Write] | Operation) -> None:
        if callable(item):
            self._idle.append(item)
        else:
            self._backlog.extend(item)

    def _write_group(self, environment: lmdb.Environment) -> None:
        if not self._backlog:
            self._run_idle(environment)
            return
        group = self._group = [self._backlog.popleft()]
        try:
            self._commit_group(environment, group)
        except Exception:  # noqa: BLE001 - whatever an operation raised is told to its caller below
            for write in group:
                self._commit_alone(environment, write)
        self._check_there(group)
        self._loop.call_soon_threadsafe(self._announce, group)

    def _check_there(self, group: Sequence[_Write]) -> None:
        """Check that the file still has its name: writes to a file that nobody finds are not acknowledged."""
        try:
            self._check_file()
        except UnavailableError as error:
            self._refusal = error
            for write in group:
                write.error = error

    def _announce(self, group: Sequence[_Write]) -> None:
        reach("answered.before")
        for write in group:
            _settle(write.done, write.result, write.error)
        self.on_commit()
        if any(isinstance(write.error, ResourceExhaustedError) for write in group):
            self.on_full()

    def _commit_group(self, environment: lmdb.Environment, group: list[_Write]) -> None:
        until = time.monotonic() + GROUP_SECONDS
        with environment.begin(write=True) as txn:
            before = self._quota.used_before_write(environment, txn)
            group[0].result = group[0].operation(txn)
            while self._backlog and time.monotonic() < until:
                group.append(write := self._backlog.popleft())
                write.result = write.operation(txn)
            frees = all(write.frees for write in group)
            self._quota.check(environment, txn, before, frees=frees)
            reach("commit.before")
        reach("commit.after")

    def _commit_alone(self, environment: lmdb.Environment, write: _Write) -> None:
        write.result = None
        try:
            with environment.begin(write=True) as txn:
                before = self._quota.used_before_write(environment, txn)
                write.result = write.operation(txn)
                self._quota.check(environment, txn, before, frees=write.frees)
        except lmdb.MapFullError:
            write.error = self._quota.explain(environment)
        except _FATAL as error:
            write.error = self.failure_by(error)
        except Exception as error:  # noqa: BLE001 - it goes to who waits for the operation
            write.error = translate(_explain(error, environment))

    def _run_idle(self, environment: lmdb.Environment) -> None:
        if not self._idle:
            return
        operation = self._idle.popleft()
        try:
            with environment.begin(write=True) as txn:
                before = self._quota.used_before_write(environment, txn)
                again = operation(txn)
                self._quota.check(environment, txn, before, frees=True)
        except Exception:
            logger.exception("housekeeping in the store failed; it is tried again after the next start")
            return
        if again:
            self._idle.append(operation)


def _explain(error: Exception, environment: lmdb.Environment) -> Exception:
    if type(error) is lmdb.Error and shutil.disk_usage(environment.path()).free < NEARLY_FULL_BYTES:
        return lmdb.DiskError(str(error))
    return error


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def translate(error: Exception) -> Exception:
    """liblmdb's error in our words."""
    match error:
        case lmdb.MapFullError():
            return full_error(0)
        case lmdb.DiskError() | OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return ResourceExhaustedError(
                "DISK_FULL", "The disk that holds the store is full. Free some space; nothing was changed."
            )
        case lmdb.CorruptedError() | lmdb.PageNotFoundError() | lmdb.InvalidError():
            return DataLossError(
                "STORE_DAMAGED", f"The store's file is damaged ({error}). Restore it from a backup."
            )
        case lmdb.MemoryError() | MemoryError() | OSError(errno=errno.ENOMEM):
            return ResourceExhaustedError(
                "ADDRESS_SPACE_LIMITED",
                "The store's map does not fit into the address space that this process may have. Raise that "
                "limit (`ulimit -v`), or lower map_size_gib in the configuration's [store] section.",
            )
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            return from_exception(error)
        case lmdb.Error() | OSError():
            return UnavailableError(
                "STORE_FAILED",
                f"The store can't be written ({error}). Look at the disk, then restart the daemon.",
            )
        case _:
            return error


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise liblmdb's errors in our words."""
    try:
        yield
    except lmdb.Error as error:
        raise translate(error) from error


def closed_error() -> UnavailableError:
    """Return the error of a call that comes after the close."""
    return UnavailableError("STORE_CLOSED", "The daemon is stopping. Call again once it has restarted.")


_FATAL = (lmdb.PanicError, lmdb.BadDbiError)
"""A meta page could not be written, and from then on liblmdb refuses every transaction, reads, too; or a
table is not where it was opened."""


def _broken(error: Exception) -> UnavailableError:
    message = (
        f"The store failed ({error}), so this daemon ends. Look at the disk; "
        "the next daemon goes on with what is on it."
    )
    return UnavailableError("STORE_FAILED", message)


def _dead_error() -> UnavailableError:
    message = "The store's writer has died of a defect, and the log says of which. Restart the daemon."
    return UnavailableError("STORE_FAILED", message)
