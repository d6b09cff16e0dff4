"""What an exchange with a model's server showed of the way there: how long it took, and where it failed.

Every exchange is reported once, at its end; who wants to hear of them hands down a callback.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass


class Failure(enum.StrEnum):
    """How the way to a server failed. That a server answers with an error is no failure of the way."""

    NONE = ""
    REFUSED = "refused"
    """Nothing listens there."""
    DNS = "dns"
    """There is no such host, or nobody to ask for it."""
    TLS = "tls"
    """No TLS with it, or none that can be trusted."""
    CONNECT_TIMEOUT = "connect_timeout"
    """No connection came about in time."""
    UNREACHABLE = "unreachable"
    """No route, no network: the system says that it can't connect."""
    LOST = "lost"
    """The connection broke while it was in use."""
    SILENT = "silent"
    """It took the request and did not begin to answer in time."""
    STALLED = "stalled"
    """It began to answer and fell silent."""
    ELSEWHERE = "elsewhere"
    """Something else answers in its place: a web page or a redirect, as a captive portal sends them."""
    GARBLED = "garbled"
    """What answers there does not speak HTTP."""


@dataclass(frozen=True, slots=True)
class RequestObservation:
    """One exchange with a server, or the opening of a connection ahead of one."""

    origin: str
    """Scheme, host and port of the server."""
    connect_ms: float | None
    """What opening a connection took, TLS included. None: none was opened, or it failed."""
    first_byte_ms: float | None
    """From the request to the head of its answer, connecting left out. None: no head came."""
    failure: Failure
    """Equal to its text: "" where all went well, else "refused", "dns" and so on."""
    body_bytes: int
    """Of a document. 0 for a streamed answer, which comes as it is written."""
    body_s: float
    """From the head to the end of that document, in seconds."""
    address: str = ""
    """The IP address that was reached: the server's, or that of the proxy before it. Empty: not known."""


OnExchange = Callable[[RequestObservation], None]
"""Hears of each exchange. Called on the event loop; must be quick, and raise nothing."""


def unheard(_exchange: RequestObservation) -> None:
    """Tell nobody."""


class RequestTrace:
    """One exchange while it goes on."""

    __slots__ = (
        "_body_bytes",
        "_body_s",
        "_connect_ms",
        "_first_byte_ms",
        "_since_s",
        "address",
        "failure",
        "is_reused",
    )

    def __init__(self) -> None:
        self.failure = Failure.NONE
        self.is_reused = False
        """A connection that was open already is used."""
        self.address = ""
        """The IP address that was reached, once that is known."""
        self._since_s = time.monotonic()
        self._connect_ms: float | None = None
        self._first_byte_ms: float | None = None
        self._body_bytes = 0
        self._body_s = 0.0

    def reusing(self) -> None:
        """Note that an open connection is reused."""
        self.is_reused = True

    def connecting(self) -> None:
        """Note that a connection is being opened."""
        self.is_reused = False
        self._since_s = time.monotonic()

    def connected(self) -> None:
        """Note that the connection is open: from here on the request is under way."""
        now = time.monotonic()
        self._connect_ms = (now - self._since_s) * 1e3
        self._since_s = now

    def answered(self) -> None:
        """Note that the head of the answer arrived."""
        now = time.monotonic()
        self._first_byte_ms = (now - self._since_s) * 1e3
        self._since_s = now

    def carried(self, size: int) -> None:
        """Note the bytes of a body that came as fast as the network carried it."""
        self._body_bytes = size
        self._body_s = time.monotonic() - self._since_s

    def report(self, origin: str, on_exchange: OnExchange) -> None:
        """Tell what came of it; nothing where it was cancelled before it showed anything."""
        if self.failure or self._connect_ms is not None or self._first_byte_ms is not None:
            shown = RequestObservation(
                origin,
                self._connect_ms,
                self._first_byte_ms,
                self.failure,
                self._body_bytes,
                self._body_s,
                self.address,
            )
            on_exchange(shown)
