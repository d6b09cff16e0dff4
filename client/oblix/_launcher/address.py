"""Where a client finds its daemon."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import grpc

from oblix._convert.validation import describe, invalid, text
from oblix._launcher import paths
from oblix._launcher.process import to_target
from oblix._transport.errors import UNREACHABLE
from oblix.errors import DaemonStartError, UnavailableError

ADDRESS = "OBLIX_ADDRESS"
"""The variable that names a daemon: unix:/PATH, tcp://HOST:PORT or tls://HOST:PORT."""

DEFAULT_HOST = "localhost"
DEFAULT_PORT = 4321
MAX_PORT = 65535


class Address(Protocol):
    """A place where a daemon listens."""

    def target(self) -> str:
        """Return the place as gRPC names it. Ask anew for every connection. Raises DaemonStartError."""

    def open_channel(self, options: Sequence[tuple[str, Any]]) -> grpc.Channel:
        """Return a channel to it. The first call on it connects."""

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what each call carries beside the client's name. Raises OblixError."""

    def check(self) -> None:
        """Raise an OblixError where nothing may be sent there any more. Asked before each call."""

    def ensure_daemon(self) -> None:
        """Return once a daemon answers there, or raise an OblixError that says why none does."""


class UserSocket:
    """This user's daemon, which is started where it does not run."""

    def open_channel(self, options: Sequence[tuple[str, Any]]) -> grpc.Channel:
        return grpc.insecure_channel(self.target(), options)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Send no token: whoever can open the socket is the user."""
        return ()

    def check(self) -> None:
        """Check nothing more: its directory was checked with its path."""

    def target(self) -> str:
        try:
            return to_target(paths.socket_path())
        except (OSError, paths.PathError) as error:
            raise DaemonStartError(str(error), reason="UNUSABLE_PLACE") from error

    def ensure_daemon(self) -> None:
        from oblix._launcher.launch import ensure_daemon  # noqa: PLC0415 - a daemon runs nearly always

        ensure_daemon(self.target)


class GivenSocket(UserSocket):
    """A daemon that somebody else started, at a socket that OBLIX_ADDRESS names."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def target(self) -> str:
        return to_target(self._path)

    def ensure_daemon(self) -> None:
        """Nothing can be started from here."""
        message = f"No oblixd answers at {self._path}, which {ADDRESS} names: start it, or unset {ADDRESS}."
        raise UnavailableError(message, reason=UNREACHABLE)


def address_of(host: str | None, port: int | None, token: str | None = None) -> Address:
    """Return the address that a client's arguments mean. Raises InvalidArgumentError.

    Without a host and a port it is that of OBLIX_ADDRESS, or this user's socket. For the documented
    localhost:4321, too, it is the socket: it leads to the same daemon, needs no token, and whoever else
    listens on the port gets no prompt. Beyond this machine it is TCP with TLS.
    """
    if host is None and port is None and (given := os.environ.get(ADDRESS)):
        return _written_address(given, token or "")
    if host is None and port is None:
        return UserSocket()
    from oblix._launcher.tcp import LOOPBACK, TcpDaemon  # noqa: PLC0415 - most programs use the socket

    host = DEFAULT_HOST if host is None else text(host, "host")
    port = DEFAULT_PORT if port is None else port
    if not host:
        raise invalid("host", "a host name or an address", "an empty one")
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= MAX_PORT:
        raise invalid("port", f"a number from 1 to {MAX_PORT}", describe(port))
    if host in LOOPBACK and port == DEFAULT_PORT:
        return UserSocket()
    return TcpDaemon(host, port, host not in LOOPBACK, token or "")


def _written_address(text: str, token: str) -> Address:
    """Read OBLIX_ADDRESS. Raises InvalidArgumentError."""
    if text.startswith("unix:/"):
        return GivenSocket(Path(text.removeprefix("unix:").replace("//", "/")))
    from oblix._launcher.tcp import LOOPBACK, TcpDaemon  # noqa: PLC0415 - most programs use the socket

    found = re.fullmatch(r"(tcp|tls)://(\[[0-9A-Fa-f:.]+\]|[^\s/:]+):(\d{1,5})", text)
    if found is None or not 1 <= int(found[3]) <= MAX_PORT:
        raise invalid(ADDRESS, "unix:/PATH, tcp://HOST:PORT or tls://HOST:PORT", repr(text[:80]))
    host = found[2].strip("[]")
    if found[1] == "tcp" and host not in LOOPBACK:
        raise invalid(ADDRESS, "tls:// for a host that is not this machine", repr(text[:80]))
    return TcpDaemon(host, int(found[3]), found[1] == "tls", token)
