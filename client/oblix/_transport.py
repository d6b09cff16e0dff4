"""Calls to the daemon: from any thread, any event loop and any forked process."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import TypeAlias, TypeVar

import grpc

from oblix._address import Address
from oblix._link import Link
from oblix._statuses import LOST, NOT_DONE, our_errors
from oblix._streams import Reader, Stream, answer_of, in_thread
from oblix.errors import FailedPreconditionError, OblixError

Q = TypeVar("Q")
A = TypeVar("A")

CALL_TIMEOUT_S = 10.0
"""For calls that the daemon answers at once. It is there for a daemon that hangs."""

Method: TypeAlias = "Callable[[Link], grpc.UnaryUnaryMultiCallable[Q, A]]"
Opener = Callable[[Link], Stream[A]]


class Transport:
    """A client's way to its daemon: connects at the first call, starts a daemon where none runs.

    A daemon that was restarted in between goes unnoticed: what was not sent is
    sent again, once. What may have been sent is repeated only where that is safe.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._name = secrets.token_hex(8)
        # By process id. A parent's link stays where it is: closing it in a child would disturb the parent.
        self._links: dict[int, Link] = {}
        self._is_closed = False

    def call(
        self,
        method: Method[Q, A],
        request: Q,
        *,
        repeatable: bool = False,
        timeout_s: float | None = CALL_TIMEOUT_S,
    ) -> A:
        """Make a unary call and wait for it, also inside a running event loop."""
        link = self._link()
        try:
            return _answer(link, method, request, timeout_s)
        except OblixError as error:
            if not _may_repeat(error, repeatable):
                raise
        return _answer(self._renewed(link), method, request, timeout_s)

    async def acall(
        self,
        method: Method[Q, A],
        request: Q,
        *,
        repeatable: bool = False,
        starts_daemon: bool = True,
        timeout_s: float | None = CALL_TIMEOUT_S,
    ) -> A:
        """Make a unary call and await it. Cancelling the task cancels the call."""
        link = self._link()
        try:
            return await answer_of(_future(link, method, request, timeout_s), link.pid)
        except OblixError as error:
            if not (starts_daemon and _may_repeat(error, repeatable)):
                raise
        link = await in_thread(lambda: self._renewed(link))
        return await answer_of(_future(link, method, request, timeout_s), link.pid)

    async def stream(self, opener: Opener[A], *, repeatable: bool = False) -> AsyncGenerator[A, None]:
        """Open a stream and yield its answers. Closing the generator cancels the call."""
        link = self._link()
        has_begun = False
        try:
            async with aclosing(_reader(link, opener)) as answers:
                async for answer in answers:
                    has_begun = True
                    yield answer
        except OblixError as error:
            if has_begun or not _may_repeat(error, repeatable):
                raise
        else:
            return
        link = await in_thread(lambda: self._renewed(link))
        async with aclosing(_reader(link, opener)) as answers:
            async for answer in answers:
                yield answer

    def read(self, opener: Callable[[Link], Iterable[A]]) -> Iterator[A]:
        """Read a short stream where it is called. Give it a deadline; it is not opened again."""
        link = self._link()
        link.check()
        with our_errors(link.pid):
            yield from opener(link)

    @property
    def is_connected(self) -> bool:
        """Whether this process has called the daemon."""
        return os.getpid() in self._links

    def close(self) -> None:
        """Close the channel. Later calls raise FailedPreconditionError."""
        self._is_closed = True
        link = self._links.pop(os.getpid(), None)
        if link is not None:
            link.channel.close()

    def _link(self) -> Link:
        if self._is_closed:
            raise FailedPreconditionError(
                "This client was shut down: make a new OblixClient.", reason="CLIENT_CLOSED"
            )
        pid = os.getpid()
        return self._links.get(pid) or self._links.setdefault(pid, self._new_link())

    def _renewed(self, failed: Link) -> Link:
        """A link to a daemon that answers: one that another thread has made since, or a new one."""
        link = self._link()
        if link is failed or link.has_ended:
            self._address.ensure_daemon()
            link = self._links[os.getpid()] = self._new_link()
        return link

    def _new_link(self) -> Link:
        return Link(self._address.target(), f"{self._name}-{os.getpid()}")


def _answer(link: Link, method: Method[Q, A], request: Q, timeout_s: float | None) -> A:
    link.check()
    with our_errors(link.pid):
        return method(link)(request, timeout=timeout_s, metadata=link.metadata)


def _future(link: Link, method: Method[Q, A], request: Q, timeout_s: float | None) -> grpc.Future[A]:
    link.check()
    return method(link).future(request, timeout=timeout_s, metadata=link.metadata)


def _reader(link: Link, opener: Opener[A]) -> Reader[A]:
    link.check()
    return Reader(opener(link))


def _may_repeat(error: OblixError, repeatable: bool) -> bool:
    return error.reason in NOT_DONE or (repeatable and error.reason == LOST)
