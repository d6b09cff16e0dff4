"""A Unix socket between a client and its daemon, whose connections a test can cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PIECE_BYTES = 1 << 16


class Relay:
    """Passes bytes on, both ways. Whoever is cut off may connect again."""

    def __init__(self, path: Path, daemon: Path) -> None:
        self.connections = 0
        """How many were made to the daemon."""
        self.cuts_after: Callable[[], int | None] = lambda: None
        """Asked for each new connection: how many bytes of the daemon's it passes on until it is cut."""
        self._daemon = daemon
        self._open: set[socket.socket] = set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def cut(self) -> None:
        """End all connections that there are."""
        for end in list(self._open):
            with suppress(OSError):  # its own thread closed it just now
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut everything and listen no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self.cut()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                ours, _ = self._listener.accept()
                self.connections += 1
                theirs = socket.socket(socket.AF_UNIX)
                try:
                    theirs.connect(str(self._daemon))
                except OSError:
                    ours.close()
                    theirs.close()
                    continue
                self._open |= {ours, theirs}
                self._start(ours, theirs, None)
                self._start(theirs, ours, self.cuts_after())

    def _start(self, source: socket.socket, target: socket.socket, most: int | None) -> None:
        thread = threading.Thread(target=self._pump, args=(source, target, most))
        self._threads.append(thread)
        thread.start()

    def _pump(self, source: socket.socket, target: socket.socket, most: int | None) -> None:
        with suppress(OSError):
            while piece := source.recv(PIECE_BYTES if most is None else min(PIECE_BYTES, most)):
                target.sendall(piece)
                most = None if most is None else most - len(piece)
                if most == 0:
                    break
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.discard(source)
        source.close()


@contextmanager
def relay_to(daemon_home: Path, home: Path) -> Iterator[Relay]:
    """Let clients with this home reach the daemon of another one through a relay."""
    path = home / "relay.sock"
    relay = Relay(path, daemon_home / "oblixd.sock")
    (home / "socket").write_text(f"{path}\n")
    try:
        yield relay
    finally:
        relay.close()
