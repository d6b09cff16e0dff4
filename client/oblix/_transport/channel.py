"""Calls to the daemon: from any thread, any event loop and any forked process.

One connection to the daemon.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from contextlib import aclosing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import grpc

from oblix._launcher.address import Address
from oblix._launcher.process import DaemonProcess
from oblix._transport.errors import LOST, NOT_DONE, UNREACHABLE, our_errors
from oblix.errors import FailedPreconditionError, OblixError, UnavailableError

if TYPE_CHECKING:
    from oblix._transport.streams import Reader, Stream
    from oblix.v1 import (
        daemon_pb2_grpc,
        embeddings_pb2_grpc,
        endpoint_pb2_grpc,
        executions_pb2_grpc,
        models_pb2_grpc,
        monitor_pb2_grpc,
        sessions_pb2_grpc,
    )

MAX_ANSWER_BYTES = 64 * 1024 * 1024
CHANNEL_OPTIONS = (
    # Every channel has its own connections: made after a fork or a failure, it shares no broken state.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    # A stream is read by the thread that wants its answers, without another one in between.
    ("SingleThreadedUnaryStream", 1),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
)
PROGRAM_CHARACTERS = 100


class Channel:
    """A channel of this process, and a stub for each service. The first call on it connects.

    A service's stub, and the code of its messages, is loaded when it is first used.
    """

    def __init__(self, address: Address, client: str) -> None:
        target = address.target()
        self.metadata = (("oblix-client", client), ("oblix-program", _program()), *address.metadata())
        self.channel = address.open_channel(CHANNEL_OPTIONS)
        self._address = address
        self._peer = DaemonProcess(target)

    @cached_property
    def daemon(self) -> daemon_pb2_grpc.DaemonServiceStub:
        from oblix.v1.daemon_pb2_grpc import DaemonServiceStub

        return DaemonServiceStub(self.channel)

    @cached_property
    def embeddings(self) -> embeddings_pb2_grpc.EmbeddingServiceStub:
        from oblix.v1.embeddings_pb2_grpc import EmbeddingServiceStub

        return EmbeddingServiceStub(self.channel)

    @cached_property
    def endpoint(self) -> endpoint_pb2_grpc.EndpointServiceStub:
        from oblix.v1.endpoint_pb2_grpc import EndpointServiceStub

        return EndpointServiceStub(self.channel)

    @cached_property
    def executions(self) -> executions_pb2_grpc.ExecutionServiceStub:
        from oblix.v1.executions_pb2_grpc import ExecutionServiceStub

        return ExecutionServiceStub(self.channel)

    @cached_property
    def models(self) -> models_pb2_grpc.ModelServiceStub:
        from oblix.v1.models_pb2_grpc import ModelServiceStub

        return ModelServiceStub(self.channel)

    @cached_property
    def monitor(self) -> monitor_pb2_grpc.MonitorServiceStub:
        from oblix.v1.monitor_pb2_grpc import MonitorServiceStub

        return MonitorServiceStub(self.channel)

    @cached_property
    def sessions(self) -> sessions_pb2_grpc.SessionServiceStub:
        from oblix.v1.sessions_pb2_grpc import SessionServiceStub

        return SessionServiceStub(self.channel)

    @property
    def pid(self) -> int:
        """The daemon's process id; 0 where it is not known."""
        return self._peer.pid

    @property
    def has_ended(self) -> bool:
        """Whether the daemon is known to be gone."""
        return self._peer.has_ended

    def check(self) -> None:
        """Raise UnavailableError where the daemon is gone. Ask before a call is sent."""
        self._address.check()
        if self.has_ended:
            raise UnavailableError("oblixd has ended.", reason=UNREACHABLE)


def _program() -> str:
    name = Path(sys.argv[0]).name or "python"
    printable = "".join(letter if " " <= letter <= "~" else "?" for letter in name)
    return f"{printable[:PROGRAM_CHARACTERS]}/{os.getpid()}"


Q = TypeVar("Q")
A = TypeVar("A")

CALL_TIMEOUT_S = 10.0
"""For calls that the daemon answers at once. It is there for a daemon that hangs."""

Method: TypeAlias = "Callable[[Channel], grpc.UnaryUnaryMultiCallable[Q, A]]"
Opener: TypeAlias = "Callable[[Channel], Stream[A]]"


class Transport:
    """A client's way to its daemon: connects at the first call, starts a daemon where none runs.

    A daemon that was restarted in between goes unnoticed: what was not sent is
    sent again, once. What may have been sent is repeated only where that is safe.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._name = os.urandom(8).hex()
        # By process id. A parent's link stays where it is: closing it in a child would disturb the parent.
        self._links: dict[int, Channel] = {}
        self._is_closed = False

    def call(
        self,
        method: Method[Q, A],
        request: Q,
        *,
        repeatable: bool = False,
        starts_daemon: bool = True,
        timeout_s: float | None = CALL_TIMEOUT_S,
    ) -> A:
        """Make a unary call and wait for it, also inside a running event loop."""
        link = self._link()
        try:
            return _answer(link, method, request, timeout_s)
        except OblixError as error:
            if not (starts_daemon and _may_repeat(error, repeatable)):
                raise
        return _answer(self._renew(link), method, request, timeout_s)

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
        from oblix._transport.streams import answer_of, in_thread

        link = self._link()
        try:
            return await answer_of(_future(link, method, request, timeout_s), link.pid)
        except OblixError as error:
            if not (starts_daemon and _may_repeat(error, repeatable)):
                raise
        link = await in_thread(lambda: self._renew(link))
        return await answer_of(_future(link, method, request, timeout_s), link.pid)

    async def stream(
        self,
        opener: Opener[A],
        *,
        repeatable: bool = False,
        wakes: Callable[[A], bool] | None = None,
    ) -> AsyncGenerator[A, None]:
        """Open a stream and yield its answers. Closing the generator cancels the call.

        `wakes`: the answers for which the event loop is woken. The others come with the next of these.
        """
        from oblix._transport.streams import in_thread

        link = self._link()
        has_begun = False
        try:
            async with aclosing(_reader(link, opener, wakes)) as answers:
                async for answer in answers:
                    has_begun = True
                    yield answer
        except OblixError as error:
            if has_begun or not _may_repeat(error, repeatable):
                raise
        else:
            return
        link = await in_thread(lambda: self._renew(link))
        async with aclosing(_reader(link, opener, wakes)) as answers:
            async for answer in answers:
                yield answer

    def iterate(
        self,
        opener: Opener[A],
        *,
        repeatable: bool = False,
        wakes: Callable[[A], bool] | None = None,
    ) -> Generator[A, None, None]:
        """Open a stream and yield its answers where it is called. Closing the generator cancels the call.

        Nobody is woken here: `wakes` is what `stream` takes.
        """
        link = self._link()
        has_begun = False
        try:
            for answer in _answers(link, opener):
                has_begun = True
                yield answer
        except OblixError as error:
            if has_begun or not _may_repeat(error, repeatable):
                raise
        else:
            return
        yield from _answers(self._renew(link), opener)

    def read(self, opener: Callable[[Channel], Iterable[A]]) -> Iterator[A]:
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

    def check_open(self) -> None:
        """Raise FailedPreconditionError where this client was shut down."""
        if self._is_closed:
            raise FailedPreconditionError(
                "This client was shut down: make a new OblixClient.", reason="CLIENT_CLOSED"
            )

    def _link(self) -> Channel:
        self.check_open()
        pid = os.getpid()
        return self._links.get(pid) or self._links.setdefault(pid, self._new_link())

    def _renew(self, broken: Channel) -> Channel:
        """Return a link to a daemon that answers: one that another thread has made since, or a new one."""
        link = self._link()
        if link is broken or link.has_ended:
            self._address.ensure_daemon()
            link = self._links[os.getpid()] = self._new_link()
        return link

    def _new_link(self) -> Channel:
        return Channel(self._address, f"{self._name}-{os.getpid()}")


def _answer(link: Channel, method: Method[Q, A], request: Q, timeout_s: float | None) -> A:
    link.check()
    with our_errors(link.pid):
        return method(link)(request, timeout=timeout_s, metadata=link.metadata)


def _future(link: Channel, method: Method[Q, A], request: Q, timeout_s: float | None) -> grpc.Future[A]:
    link.check()
    return method(link).future(request, timeout=timeout_s, metadata=link.metadata)


def _reader(link: Channel, opener: Opener[A], wakes: Callable[[A], bool] | None) -> Reader[A]:
    from oblix._transport.streams import Reader

    link.check()
    return Reader(opener(link), wakes)


def _answers(link: Channel, opener: Opener[A]) -> Generator[A, None, None]:
    link.check()
    call = opener(link)
    try:
        with our_errors(link.pid):
            while True:
                try:
                    answer = next(call)
                except StopIteration:
                    return
                yield answer
    finally:
        call.cancel()


def _may_repeat(error: OblixError, repeatable: bool) -> bool:
    return error.reason in NOT_DONE or (repeatable and error.reason == LOST)
