"""Work in a process of its own, for what may crash.

liblmdb reads through a map of the file, so that a damaged one can kill its reader: by a
bus error beyond the file's end, by a segmentation fault behind a page that points
anywhere. That kills the child, and the parent says so.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

T = TypeVar("T")

MORE_THAN_STANDARD = 3
"""The first file descriptor after standard input, output and errors."""


class ForkedReader(Generic[T]):
    """What a function yields, made by a child. Iterate over it once; the child ends where you stop."""

    def __init__(self, work: Callable[[], Iterable[T]]) -> None:
        self._work = work
        self.death = ""
        """How the child died, after the end. Empty: it did not."""

    def __iter__(self) -> Iterator[T]:
        # A fork needs no import path and no file of ours that may be gone; nothing runs yet in this process.
        context = multiprocessing.get_context("fork")
        reader, writer = context.Pipe(duplex=False)
        child = context.Process(target=self._send, args=(writer,), daemon=True)
        child.start()
        writer.close()
        with reader:
            try:
                yield from _receive(reader)
            except GeneratorExit:  # enough was read, and what is left may take long
                child.kill()
                raise
            finally:
                child.join()
        if child.exitcode:
            self.death = _death(child.exitcode)

    def _send(self, writer: Connection) -> None:
        # The parent's locks must end with the parent, and so must the other side of the pipe.
        os.closerange(MORE_THAN_STANDARD, writer.fileno())
        os.closerange(writer.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        # Of a parent that was killed the other side is closed.
        with writer, suppress(BrokenPipeError):
            for item in self._work():
                writer.send(item)


def _receive(reader: Connection) -> Iterator[Any]:
    while True:
        try:
            yield reader.recv()
        except EOFError:
            return


def _death(code: int) -> str:
    return signal.strsignal(-code) or f"signal {-code}" if code < 0 else f"exit code {code}"
