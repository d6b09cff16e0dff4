"""Where a client finds its daemon."""

from __future__ import annotations

from typing import Protocol

from oblix._convert.validation import describe, invalid, text
from oblix._launcher import paths
from oblix._launcher.launch import ensure_daemon
from oblix._launcher.process import to_target
from oblix._transport.errors import UNREACHABLE
from oblix.errors import DaemonStartError, UnavailableError

DEFAULT_HOST = "localhost"
DEFAULT_PORT = 4321
MAX_PORT = 65535
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Address(Protocol):
    """A place where a daemon listens."""

    def target(self) -> str:
        """Return the place as gRPC names it. Ask anew for every connection. Raises DaemonStartError."""

    def ensure_daemon(self) -> None:
        """Return once a daemon answers there, or raise an OblixError that says why none does."""


class UserSocket:
    """This user's daemon, which is started where it does not run."""

    def target(self) -> str:
        try:
            return to_target(paths.socket_path())
        except (OSError, paths.PathError) as error:
            raise DaemonStartError(str(error), reason="UNUSABLE_PLACE") from error

    def ensure_daemon(self) -> None:
        ensure_daemon(self.target)


class Remote:
    """A daemon that somebody else started, over TCP."""

    def __init__(self, host: str, port: int) -> None:
        self._target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def target(self) -> str:
        return self._target

    def ensure_daemon(self) -> None:
        """Nothing can be started from here."""
        raise UnavailableError(
            f"No oblixd can be reached at {self._target}. Daemons elsewhere need TCP with a token, which is "
            f"not there yet: without host and port, or with {DEFAULT_HOST}:{DEFAULT_PORT}, it is your own.",
            reason=UNREACHABLE,
        )


def address_of(host: str | None, port: int | None) -> Address:
    """Return the address that a client's arguments mean. Raises InvalidArgumentError.

    Without a host and a port, and for the documented localhost:4321, it is this
    user's socket: it leads to the same daemon, needs no token, and whoever else
    listens on the port gets no prompt.
    """
    host = DEFAULT_HOST if host is None else text(host, "host")
    port = DEFAULT_PORT if port is None else port
    if not host:
        raise invalid("host", "a host name or an address", "an empty one")
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= MAX_PORT:
        raise invalid("port", f"a number from 1 to {MAX_PORT}", describe(port))
    if host in LOOPBACK and port == DEFAULT_PORT:
        return UserSocket()
    return Remote(host, port)
