"""An answer while it is being written: what has come so far, and its checkpoints.

A checkpoint is due 250 ms after something came, or when 4 KiB wait, whichever
is first. Checkpoints are written one after another, beside the stream: the
stream never waits for the disk.
"""

from __future__ import annotations

import asyncio
import io
from typing import Protocol

from oblix.v1 import messages_pb2 as pb

from oblixd.models.base import Content, ContentKind

CHECKPOINT_S = 0.25
CHECKPOINT_BYTES = 4096


class Checkpoints(Protocol):
    """Where an answer's pieces are kept."""

    async def checkpoint(self, parts: list[pb.Part]) -> None:
        """Keep some more of the answer."""


class Answer:
    """Collects what a model says. Without checkpoints nothing is kept on the way."""

    def __init__(self, checkpoints: Checkpoints | None) -> None:
        self._checkpoints = checkpoints
        self._texts = _Texts()
        self._waiting = _Texts()
        self._waiting_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self.size = 0
        """Bytes of UTF-8 so far."""

    def add(self, content: Content) -> bytes:
        """Take in the next piece and return it as UTF-8."""
        data = content.text.encode()
        self._texts.add(content)
        self.size += len(data)
        if self._checkpoints is not None:
            self._waiting.add(content)
            self._waiting_bytes += len(data)
            self._plan()
        return data

    def parts(self) -> list[pb.Part]:
        """All of it, neighbours of one kind joined."""
        return self._texts.parts()

    async def settle(self) -> None:
        """Wait for the checkpoint being written; none begins afterwards. Raises what one raised."""
        self._checkpoints = None
        if self._timer is not None:
            self._timer.cancel()
        if self._writing is not None:
            await self._writing

    def _plan(self) -> None:
        if self._waiting_bytes >= CHECKPOINT_BYTES:
            self._write()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CHECKPOINT_S, self._write)

    def _write(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._checkpoints is None or (self._writing is not None and not self._writing.done()):
            return
        if self._writing is not None and self._writing.exception() is not None:
            return
        waiting, self._waiting, self._waiting_bytes = self._waiting, _Texts(), 0
        self._writing = asyncio.create_task(self._checkpoints.checkpoint(waiting.parts()))
        self._writing.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[None]) -> None:
        if self._waiting_bytes and not task.cancelled() and task.exception() is None:
            self._plan()


class _Texts:
    """Pieces, neighbours of one kind joined as they come: many tokens cost no more than their text."""

    def __init__(self) -> None:
        self._runs: list[tuple[ContentKind, io.StringIO]] = []

    def add(self, content: Content) -> None:
        if not self._runs or self._runs[-1][0] is not content.kind:
            self._runs.append((content.kind, io.StringIO()))
        self._runs[-1][1].write(content.text)

    def parts(self) -> list[pb.Part]:
        return [_part(kind, text.getvalue()) for kind, text in self._runs]


def _part(kind: ContentKind, text: str) -> pb.Part:
    return pb.Part(text=text) if kind is ContentKind.TEXT else pb.Part(reasoning=text)
