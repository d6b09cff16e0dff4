"""The ways in which a test server can misbehave, each with the real bytes on a real connection."""

from __future__ import annotations

import gzip
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Wire(Protocol):
    """The server's end of a connection, as a fault handles it."""

    def send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Answer with a whole response."""

    def chunk(self, data: bytes) -> None:
        """Send a piece of a streamed body."""

    def wait(self, seconds: float | None) -> None:
        """Wait so long (None: for ever), or until the client or the test has gone."""

    def end(self) -> None:
        """End a streamed body as HTTP wants it."""

    def cut(self, *, reset: bool) -> None:
        """Close the connection, with a TCP reset or without."""


class Fault:
    """A way to misbehave. Derive from `InsteadOfAnswer` or `InStream` to write your own."""


class InsteadOfAnswer(Fault, ABC):
    """Strikes before the answer's head."""

    @abstractmethod
    def strike(self, wire: Wire, error: bytes) -> None:
        """Do it. `error` is this server's own way to write an error of this fault's message."""

    @property
    def message(self) -> str:
        """What the error says."""
        return ""

    @property
    def status(self) -> int:
        """The HTTP status of the error."""
        return 500


class InStream(Fault, ABC):
    """Strikes in the middle of an answer that began well."""

    after: int
    """Tokens that are sent well before."""

    @abstractmethod
    def strike(self, wire: Wire, error: bytes) -> bool:
        """Do it, and say whether the stream goes on. `error` is this server's own way to report one in it."""

    @property
    def message(self) -> str:
        """What the error says."""
        return ""


@dataclass(frozen=True)
class Hang(InsteadOfAnswer):
    """Take the request and never answer."""

    def strike(self, wire: Wire, error: bytes) -> None:
        """See `InsteadOfAnswer.strike`."""
        wire.wait(None)


@dataclass(frozen=True)
class HangUp(InsteadOfAnswer):
    """Take the request and close the connection."""

    reset: bool = False

    def strike(self, wire: Wire, error: bytes) -> None:
        """See `InsteadOfAnswer.strike`."""
        wire.cut(reset=self.reset)


@dataclass(frozen=True)
class Refuse(InsteadOfAnswer):
    """Answer with an HTTP error, in this server's own format."""

    status: int = 500
    message: str = "something went wrong"
    headers: Mapping[str, str] = field(default_factory=dict)
    """For example Retry-After or Location."""

    def strike(self, wire: Wire, error: bytes) -> None:
        """See `InsteadOfAnswer.strike`."""
        wire.send(self.status, error, self.headers)


@dataclass(frozen=True)
class Page(InsteadOfAnswer):
    """Answer 200 with a web page, as a captive portal does."""

    html: str = "<html><body>Please log in.</body></html>"

    def strike(self, wire: Wire, error: bytes) -> None:
        """See `InsteadOfAnswer.strike`."""
        wire.send(200, self.html.encode(), {"Content-Type": "text/html"})


@dataclass(frozen=True)
class Bomb(InsteadOfAnswer):
    """Answer 200 with a few kilobytes that would unpack to so many bytes."""

    unpacked: int = 64 * 1024 * 1024

    def strike(self, wire: Wire, error: bytes) -> None:
        """See `InsteadOfAnswer.strike`."""
        wire.send(200, gzip.compress(bytes(self.unpacked)), {"Content-Encoding": "gzip"})


@dataclass(frozen=True)
class Stall(InStream):
    """Stop sending and keep the connection open."""

    after: int = 0

    def strike(self, wire: Wire, error: bytes) -> bool:
        """See `InStream.strike`."""
        wire.wait(None)
        return False


@dataclass(frozen=True)
class Cut(InStream):
    """Close the connection in the middle of the body."""

    after: int = 0
    reset: bool = False

    def strike(self, wire: Wire, error: bytes) -> bool:
        """See `InStream.strike`."""
        wire.cut(reset=self.reset)
        return False


@dataclass(frozen=True)
class End(InStream):
    """End the body as HTTP wants it, without the format's last word."""

    after: int = 0

    def strike(self, wire: Wire, error: bytes) -> bool:
        """See `InStream.strike`."""
        wire.end()
        return False


@dataclass(frozen=True)
class Report(InStream):
    """Send an error object inside the stream, and end it."""

    after: int = 0
    message: str = "something went wrong"

    def strike(self, wire: Wire, error: bytes) -> bool:
        """See `InStream.strike`."""
        wire.chunk(error)
        wire.end()
        return False


@dataclass(frozen=True)
class Insert(InStream):
    """Send bytes of your own in between, and go on: a broken frame, a comment, a line without end."""

    data: bytes
    after: int = 0

    def strike(self, wire: Wire, error: bytes) -> bool:
        """See `InStream.strike`."""
        wire.chunk(self.data)
        return True


@dataclass(frozen=True)
class Repeat(InStream):
    """Send the same bytes again and again and nothing else: comments that keep a connection alive."""

    data: bytes
    every_s: float
    after: int = 0

    def strike(self, wire: Wire, error: bytes) -> bool:
        """See `InStream.strike`."""
        while True:
            wire.chunk(self.data)
            wire.wait(self.every_s)


@dataclass(frozen=True)
class Dribble(Fault):
    """Send the answer in reads of so many bytes, so that frames and characters are split."""

    bytes_at_once: int = 1
