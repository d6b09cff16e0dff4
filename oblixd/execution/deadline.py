"""The time that a request gives its execution, from its arrival on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

from oblix.v1 import executions_pb2 as pb

from oblixd.execution.stopwatch import Stopwatch


class Deadline:
    """A request's `timeout`, or none."""

    def __init__(self, request: pb.ExecuteRequest, watch: Stopwatch) -> None:
        given = request.timeout.ToTimedelta().total_seconds()
        self._timeout_s = given if request.HasField("timeout") else None
        self._watch = watch

    @property
    def left_s(self) -> float | None:
        """Seconds that are left. None: no limit."""
        return None if self._timeout_s is None else self._timeout_s - self._watch.elapsed_s

    @contextmanager
    def kept(self, expire: Callable[[], None]) -> Generator[None, None, None]:
        """Call `expire` once the time is over, unless what is inside ended before."""
        if self._timeout_s is None:
            yield
            return
        timer = asyncio.get_running_loop().call_later(self._timeout_s, expire)
        try:
            yield
        finally:
            timer.cancel()
