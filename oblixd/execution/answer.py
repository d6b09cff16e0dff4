"""An answer while it is being written: what has come so far, and its checkpoints.

A checkpoint is due 250 ms after something came, or when 4 KiB wait, whichever
is first. Checkpoints are written one after another, beside the stream: the
stream never waits for the disk.
"""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from typing import Protocol

from oblix.v1 import messages_pb2 as pb

from oblixd.models.base import Content, ContentKind, ToolCall

MAX_ANSWER_BYTES = (8 << 20) - (64 << 10)
"""An answer ends here. A message may have 8 MiB, what frames its parts included."""
_LONGEST_CHARACTER = 4
CHECKPOINT_S = 0.25
CHECKPOINT_BYTES = 4096


class Checkpoints(Protocol):
    """Where an answer's pieces are kept."""

    async def checkpoint(self, parts: list[pb.Part]) -> None:
        """Keep some more of the answer."""

    async def restart(self) -> None:
        """Drop the pieces that were kept: the answer begins anew."""


class Answer:
    """Collects what a model says. Without checkpoints nothing is kept on the way."""

    def __init__(self, checkpoints: Checkpoints | None) -> None:
        self._checkpoints = checkpoints
        self._pieces = _Pieces()
        self._waiting = _Pieces()
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """Bytes of UTF-8 so far."""
        return self._pieces.size

    @property
    def begun(self) -> bool:
        """Whether anything has come, be it the mere name of a tool."""
        return self._pieces.begun

    @property
    def is_full(self) -> bool:
        """Whether no more fits. What is cut is cut between characters, so a few bytes may be left."""
        return self.size > MAX_ANSWER_BYTES - _LONGEST_CHARACTER

    def add(self, content: Content) -> bytes:
        """Take in the next piece, or what fits of it, and return that as UTF-8."""
        data = content.text.encode()
        room = MAX_ANSWER_BYTES - self.size
        if len(data) > room:
            content = replace(content, text=data[:room].decode(errors="ignore"))
            data = content.text.encode()
        self._pieces.add(content, len(data))
        # Half a tool call is of no use to whoever finds it after a crash.
        if self._checkpoints is not None and content.call is None:
            self._waiting.add(content, len(data))
            self._plan()
        return data

    def parts(self, *, whole: bool) -> list[pb.Part]:
        """All of it, neighbours of one kind joined. Tool calls only where the answer is `whole`."""
        return self._pieces.parts(calls=whole)

    async def settle(self) -> None:
        """Wait for the checkpoint being written; none begins afterwards. Raises what one raised."""
        self._checkpoints = None
        await self._quiet()

    async def restart(self) -> None:
        """Forget what came: another model begins anew."""
        self._pieces, self._waiting = _Pieces(), _Pieces()
        await self._quiet()
        if self._checkpoints is not None:
            await self._checkpoints.restart()

    async def _quiet(self) -> None:
        self._stop_timer()
        if self._writing is not None:
            await self._writing

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _plan(self) -> None:
        if self._waiting.size >= CHECKPOINT_BYTES:
            self._write()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CHECKPOINT_S, self._write)

    def _write(self) -> None:
        self._stop_timer()
        if self._checkpoints is None or self._is_stuck():
            return
        waiting, self._waiting = self._waiting, _Pieces()
        self._writing = asyncio.create_task(self._checkpoints.checkpoint(waiting.parts(calls=False)))
        self._writing.add_done_callback(self._written)

    def _is_stuck(self) -> bool:
        """Whether the last checkpoint is being written, or failed: then the end tells of it."""
        return self._writing is not None and (
            not self._writing.done() or self._writing.exception() is not None
        )

    def _written(self, _: asyncio.Task[None]) -> None:
        if self._waiting.size and not self._is_stuck():
            self._plan()


class _Pieces:
    """Neighbours of one kind are joined as they come: many tokens cost no more than their text.

    The pieces of a tool call are joined wherever they come: several can be written at the same time.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[ContentKind, ToolCall | None, io.StringIO]] = []
        self._calls: dict[ToolCall, io.StringIO] = {}
        self.size = 0

    @property
    def begun(self) -> bool:
        return bool(self._runs)

    def add(self, content: Content, size: int) -> None:
        self._text(content.kind, content.call).write(content.text)
        self.size += size

    def _text(self, kind: ContentKind, call: ToolCall | None) -> io.StringIO:
        if call is not None and call in self._calls:
            return self._calls[call]
        if not self._runs or self._runs[-1][:2] != (kind, call):
            self._runs.append((kind, call, io.StringIO()))
            if call is not None:
                self._calls[call] = self._runs[-1][2]
        return self._runs[-1][2]

    def parts(self, *, calls: bool) -> list[pb.Part]:
        return [_part(kind, call, text.getvalue()) for kind, call, text in self._runs if calls or not call]


def _part(kind: ContentKind, call: ToolCall | None, text: str) -> pb.Part:
    if call is not None:
        named = pb.ToolCallPart(call_id=call.call_id, name=call.name, arguments_json=text or "{}")
        return pb.Part(tool_call=named)
    return pb.Part(text=text) if kind is ContentKind.TEXT else pb.Part(reasoning=text)
