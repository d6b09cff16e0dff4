"""How requests come in and responses go out: weighed, and only a few large ones at the same time.

gRPC hands out whole messages, so none can be weighed before it is here. That is why every method is served
as one that takes a stream: its message is read when we say and not before, and its bytes are let go of once
they were parsed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from google.protobuf.message import DecodeError

from oblixd.client_memory import CALL, ClientMemory, Share, Turn, Turns, give_free_memory_back
from oblixd.errors import (
    InvalidArgumentError,
    ResourceExhaustedError,
    from_exception,
    invalid_argument,
    is_lack_of_memory,
)

ARRIVING = 4
"""Messages that may arrive at the same time, of the methods that take large ones.

A large one counts until it was worked on."""
ARRIVAL_S = 2.0
"""A message that takes longer to arrive is no longer counted: who sends slowly fills memory slowly."""
LARGE_BYTES = 256 << 10
"""What is larger is worked on in turn: a message is copied several times on its way into the store."""
WORKED_ON_BYTES = 16 << 20
"""How much of that is worked on at the same time."""
TIDY_S = 0.2
"""How long after a large request free memory is given back to the system, in seconds."""
TAKE_LARGE = frozenset({"EmbedTexts", "Execute", "ExplainRoute", "AppendMessages", "ImportSessions"})
"""The methods whose requests carry messages or texts."""
_READS = ("Attach", "Backup", "Export", "Get", "List", "Search", "Watch")
"""What methods begin with that only read: such a call can still be refused when its response is there."""


Read = Callable[[], Awaitable[object]]
"""Gives the next message's bytes, and something else at the end: `grpc.aio.ServicerContext.read`.

The iterator that a handler is given as well must not be used: it keeps its last message until Python's
collector of cycles finds it, which can be long after the call.
"""


class Malformed:
    """Stands for a request whose bytes are not the message they should be."""


class Admission:
    """What all calls share."""

    def __init__(self, memory: ClientMemory, check_size: Callable[[int], None]) -> None:
        """`check_size` raises for a request that one client may not send."""
        self._memory = memory
        self._check_size = check_size
        self._arriving = Turns(ARRIVING)
        self._working = Turns(WORKED_ON_BYTES)
        self._tidying: asyncio.TimerHandle | None = None

    def call(self, method: str, read: Read, parse: Callable[[bytes], Any]) -> Call:
        """Let one call through. What is held for it is held until its `end`."""
        arriving = self._arriving if method in TAKE_LARGE else None
        is_read = method.startswith(_READS)
        share = self._memory.share()
        CALL.set(share)
        return Call(share, read, parse, self._check_size, is_read, arriving, self._working, self._tidy_soon)

    def _tidy_soon(self) -> None:
        """Give back what large requests left in pieces, once for many of them, and beside the loop."""
        loop = asyncio.get_running_loop()
        if self._tidying is None or self._tidying.when() < loop.time():
            self._tidying = loop.call_later(TIDY_S, loop.run_in_executor, None, give_free_memory_back)


@dataclass(slots=True)
class Call:
    """One call on its way through. Use as `with call:`, or call `end`."""

    _share: Share
    _read: Read
    _parse: Callable[[bytes], Any]
    _check_size: Callable[[int], None]
    _is_read: bool
    _arriving: Turns | None
    _working: Turns
    _on_large: Callable[[], None]
    _turns: list[Turn] = field(default_factory=list)

    async def request(self) -> Any:
        """Return the one request. Raises MALFORMED_REQUEST, or MEMORY_FULL where there is no room for it."""
        request = await self._next_request()
        if request is None or isinstance(request, Malformed):
            raise malformed_error()
        return request

    async def requests(self) -> AsyncGenerator[Any, None]:
        """Yield each request of a stream; `Malformed` for one that can't be read."""
        while (request := await self._next_request()) is not None:
            yield request
            self.end()

    def worked(self) -> None:
        """Let the next large request in: what follows depends on how fast the client reads."""
        while self._turns:
            self._turns.pop().leave()

    def done(self) -> None:
        """Count the request no longer: it was answered."""
        self._share.release()

    def leaves(self, response: bytes) -> int:
        """Count a response until it was sent. Give its size to `sent`."""
        size = len(response)
        if self._is_read:
            self._share.take(size)
        else:
            # What was done can't be refused any more.
            self._share.hold_only(self._share.size + size)
        return size

    def sent(self, size: int) -> None:
        """Count it no longer: gRPC took all of it."""
        self._share.give_back(size)

    def end(self) -> None:
        """Hold nothing for it any more."""
        self.worked()
        self._share.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    async def _next_request(self) -> Any:
        raw = await self._receive()
        if not isinstance(raw, bytes):
            return None
        size = len(raw)
        try:
            self._check_size(size)
            self._share.take(size)
        except ResourceExhaustedError:
            # The error's traceback would hold on to it for as long as anybody has the error.
            del raw
            raise
        if size <= LARGE_BYTES:
            self.worked()
        else:
            self._on_large()
            self._turns.append(await self._working.enter(size))
        try:
            return self._parse(raw)
        except DecodeError as error:
            if is_lack_of_memory(error):
                raise from_exception(error) from error
            return Malformed()

    async def _receive(self) -> object:
        if self._arriving is None:
            return await self._read()
        turn = await self._arriving.enter()
        self._turns.append(turn)
        timer = turn.leave_after(ARRIVAL_S)
        try:
            return await self._read()
        finally:
            timer.cancel()


def malformed_error() -> InvalidArgumentError:
    """Return the error for request bytes that can't be read."""
    message = (
        "The request's bytes are not the message that this method takes: "
        "check that the stubs are those of oblix.v1 and that every text is valid UTF-8."
    )
    return invalid_argument("MALFORMED_REQUEST", message, field="request")
