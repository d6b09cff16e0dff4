"""Ports on which something is wrong."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unheard() -> Iterator[int]:
    """A port that is taken, and on which nobody listens."""
    with socket.socket() as reserved:
        yield _taken_bytes(reserved)


@contextmanager
def deaf() -> Iterator[int]:
    """A port whose backlog is full: it drops whoever knocks, as a firewall does."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        port = _taken_bytes(listener)
        listener.listen(0)
        for one in (first, second):
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        yield port


@contextmanager
def mute() -> Iterator[int]:
    """A port that takes connections, and says nothing."""
    with socket.socket() as listener:
        port = _taken_bytes(listener)
        listener.listen()
        yield port


def _taken_bytes(one: socket.socket) -> int:
    one.bind(("127.0.0.1", 0))
    port: int = one.getsockname()[1]
    return port
