"""One request on one connection, on the server's side."""

from __future__ import annotations

import json
import math
import select
import socket
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any


class GoneError(Exception):
    """The client closed the connection, or the server is being closed: nobody waits any more."""


@dataclass
class Received:
    """A request that a test server got."""

    method: str
    path: str
    headers: Mapping[str, str]
    """With names in lower case."""
    body: Any
    """The JSON value; None where there was none."""
    port: int
    """The client's port: two requests with the same one came over one connection."""
    done: threading.Event = field(default_factory=threading.Event)
    """Set once the server is finished with it, however it ended."""
    abandoned: threading.Event = field(default_factory=threading.Event)
    """Set once the server saw the client go before the answer was whole."""


def wait_readable(sockets: Sequence[socket.socket], timeout_s: float | None) -> list[socket.socket]:
    """Wait for sockets that can be read or have ended, at most so long; None: for ever.

    Not with `select`, which knows no descriptor past 1,023.
    """
    poll = select.poll()
    by_number = {one.fileno(): one for one in sockets}
    for number in by_number:
        poll.register(number, select.POLLIN)
    found = poll.poll(None if timeout_s is None else math.ceil(timeout_s * 1000))
    return [by_number[number] for number, _ in found]


class Exchange:
    """Answers one request. Knows when the client goes away while it waits."""

    def __init__(self, handler: BaseHTTPRequestHandler, closing: socket.socket) -> None:
        self.received = _receive(handler)
        self.slice: int | None = None
        """Bytes to send at once; None: all of a frame."""
        self._handler = handler
        self._socket = handler.connection
        self._closing = closing

    def send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Answer with a whole response."""
        head = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        self._head(status, head)
        self._write(body)

    def send_json(self, status: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
        """Answer with a JSON document."""
        self.send(status, json.dumps(value).encode(), headers)

    def start(self, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        """Begin a streamed body."""
        head = {"Content-Type": content_type, "Transfer-Encoding": "chunked", **(headers or {})}
        self._head(200, head)

    def chunk(self, data: bytes) -> None:
        """Send a piece of a streamed body, in slices where that was asked for."""
        size = self.slice or len(data)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            self._write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def end(self) -> None:
        """End a streamed body as HTTP wants it."""
        self._write(b"0\r\n\r\n")

    def wait(self, seconds: float | None) -> None:
        """Wait so long; None: for ever. Raises GoneError when the client or the test goes."""
        until = None if seconds is None else time.monotonic() + seconds
        watched = [self._socket, self._closing]
        while until is None or time.monotonic() < until:
            left = None if until is None else max(0.0, until - time.monotonic())
            readable = wait_readable(watched, left)
            if self._closing in readable or (readable and self._at_end()):
                raise GoneError
            if readable:
                # It sent more already, and is there.
                watched = [self._closing]

    def cut(self, *, reset: bool) -> None:
        """Close the connection, with a TCP reset or without."""
        if reset:
            # Lingering for no time at all is how a reset is asked for.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            with suppress(OSError):  # the client may have gone first
                self._socket.shutdown(socket.SHUT_RDWR)
        self._handler.close_connection = True
        # The reader shares the descriptor: only when both are closed is the connection.
        self._handler.rfile.close()
        self._socket.close()

    def _at_end(self) -> bool:
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except ConnectionError:
            return True

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self._handler.send_response(status)
        for name, value in headers.items():
            self._handler.send_header(name, value)
        try:
            self._handler.end_headers()
        except OSError as error:
            raise GoneError from error

    def _write(self, data: bytes) -> None:
        try:
            self._handler.wfile.write(data)
        except OSError as error:
            raise GoneError from error


def _receive(handler: BaseHTTPRequestHandler) -> Received:
    body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
    return Received(
        method=handler.command,
        path=handler.path,
        headers={name.lower(): value for name, value in handler.headers.items()},
        body=_json(body),
        port=handler.client_address[1],
    )


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
