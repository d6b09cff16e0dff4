"""Where a cancel may strike.

An execution may be stopped at any moment, but not anywhere: the recording of the
question or the answer is never cut in half. So a stop only interrupts what
runs inside a scope (waiting for the turn, talking to the model) and is
remembered everywhere else.
"""

from __future__ import annotations

import asyncio
import enum
from types import TracebackType


class StopReason(enum.Enum):
    """Why an execution was stopped from outside."""

    CANCELLED = "cancelled"
    """Somebody cancelled it, or everybody who listened has gone."""
    INTERRUPTED = "interrupted"
    """The daemon ends."""
    EXPIRED = "expired"
    """The time that its request gave it is over."""


class Stopped(Exception):  # noqa: N818 - not an error: somebody wanted it
    """Raised inside a scope once a stop was asked for."""

    def __init__(self, stop: StopReason) -> None:
        super().__init__(stop.value)
        self.stop = stop


class CancelScope:
    """Use as `with scope:` around what may be interrupted. One task only."""

    def __init__(self) -> None:
        self.stop: StopReason | None = None
        """What was asked for; the first wish counts."""
        self._task: asyncio.Task[object] | None = None

    def request(self, stop: StopReason) -> None:
        """Stop now, or as soon as the scope is entered."""
        if self.stop is None:
            self.stop = stop
            if self._task is not None:
                self._task.cancel()

    def __enter__(self) -> None:
        if self.stop is not None:
            raise Stopped(self.stop)
        self._task = asyncio.current_task()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self.stop is not None and isinstance(error, asyncio.CancelledError) and task is not None:
            task.uncancel()
            raise Stopped(self.stop) from None
