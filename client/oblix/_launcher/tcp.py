"""A daemon over TCP: with TLS wherever it is, without TLS only on this machine and only as this user's own.

A token over plaintext TCP goes to whoever listens. So before each call the kernel is asked whose the listener
is: another user's program on the daemon's port gets nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from oblix._convert.validation import invalid
from oblix._launcher import paths
from oblix._transport.errors import UNREACHABLE
from oblix.errors import FailedPreconditionError, UnavailableError

TOKEN, TOKEN_FILE = "OBLIX_TOKEN", "OBLIX_TOKEN_FILE"
CA_FILE = "OBLIX_CA_FILE"
CLIENT_CERTIFICATE, CLIENT_KEY = "OBLIX_CLIENT_CERTIFICATE", "OBLIX_CLIENT_KEY"
LONGEST_TOKEN = 4096
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENS = "0A"
_EVERYWHERE = {"0" * 8, "0" * 32}
_LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
"""127.0.0.1, ::1 and ::ffff:127.0.0.1 as the kernel writes them on a little-endian machine."""


@dataclass(frozen=True)
class TcpDaemon:
    """A daemon that listens at a host's port. It is never started from here."""

    host: str
    port: int
    has_tls: bool
    given_token: str = field(default="", repr=False)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def target(self) -> str:
        """Return the place as gRPC names it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def open_channel(self, options: Sequence[tuple[str, Any]]) -> grpc.Channel:
        """Return a channel. The first call on it connects."""
        if not self.has_tls:
            return grpc.insecure_channel(self.target(), options)
        return grpc.secure_channel(self.target(), self._credentials(), options)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what each call carries: the token, where there is one. Raises OblixError."""
        self.check()
        token = self.given_token or self._configured_token()
        if not token:
            return ()
        if not (token.isascii() and token.isprintable()) or len(token) > LONGEST_TOKEN:
            raise invalid("token", f"printable ASCII, at most {LONGEST_TOKEN} characters", "another text")
        return (("authorization", f"Bearer {token}"),)

    def check(self) -> None:
        """Raise an OblixError where a call, and the token with it, would go to another user's program."""
        if self.has_tls:
            return
        owners = set(_listeners(self.port))
        if not owners:
            raise UnavailableError(f"Nobody listens at {self.target()}. {_HOW}", reason=UNREACHABLE)
        if owners != {os.getuid()}:
            others = ", ".join(f"user {owner}" for owner in sorted(owners - {os.getuid()}))
            message = (
                f"The program at {self.target()} belongs to {others}, not to you: it gets no "
                "token and no prompt. "
                "Use the socket (no host and port), or TLS: OBLIX_ADDRESS=tls://HOST:PORT."
            )
            raise FailedPreconditionError(
                message, reason="LISTENER_NOT_YOURS", metadata={"port": f"{self.port}"}
            )

    def ensure_daemon(self) -> None:
        """Nothing can be started from here. Raises UnavailableError."""
        raise UnavailableError(f"No oblixd can be reached at {self.target()}. {_HOW}", reason=UNREACHABLE)

    def _configured_token(self) -> str:
        if given := self.environ.get(TOKEN, "").strip():
            return given
        if file := self.environ.get(TOKEN_FILE):
            return _private_text(Path(file))
        # On this machine the user's own daemon keeps one for the user's own clients.
        own = paths.log_path(self.environ).with_name("token")
        return _private_text(own) if self.host in LOOPBACK and own.exists() else ""

    def _credentials(self) -> grpc.ChannelCredentials:
        files = [self.environ.get(name) for name in (CA_FILE, CLIENT_KEY, CLIENT_CERTIFICATE)]
        roots, key, chain = [_bytes_of(file) if file else None for file in files]
        return grpc.ssl_channel_credentials(roots or _system_roots(), key, chain)


LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_HOW = (
    "Without host and port, or with localhost:4321, a client uses your own daemon's socket. A "
    "daemon listens on "
    "TCP where its configuration says so ([[listen]]) or `oblixd --listen tcp://127.0.0.1:4321`."
)


def _listeners(port: int) -> Iterator[int]:
    """Yield the user of each program that a connection to this machine's port may reach."""
    tables = [Path(name) for name in _TABLES if Path(name).exists()]
    if not tables:
        message = (
            "This system does not say whose a listener is, so nothing is sent over plaintext "
            "TCP: use the socket, "
            "or TLS (OBLIX_ADDRESS=tls://HOST:PORT)."
        )
        raise FailedPreconditionError(message, reason="LISTENER_UNKNOWN")
    for table in tables:
        for line in table.read_text("ascii").splitlines()[1:]:
            columns = line.split()
            address, _, hexadecimal = columns[1].partition(":")
            is_reached = address in _EVERYWHERE or address in _LOOPBACK
            if columns[3] == _LISTENS and int(hexadecimal, 16) == port and is_reached:
                yield int(columns[7])


def _private_text(path: Path) -> str:
    """Return the text of a file that only its owner may read. Raises FailedPreconditionError."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                message = (
                    f"Others can read the token in {path}: run `chmod 600 {path}`, and make a new token."
                )
                raise FailedPreconditionError(
                    message, reason="TOKEN_FILE_UNSAFE", metadata={"path": str(path)}
                )
            return file.read(LONGEST_TOKEN + 1).decode("ascii", "replace").strip()
    except OSError as error:
        message = f"The token in {path} can't be read: {error.strerror}."
        raise FailedPreconditionError(
            message, reason="TOKEN_FILE_UNUSABLE", metadata={"path": str(path)}
        ) from None


def _bytes_of(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        message = f"{file} can't be read for TLS: {error.strerror}."
        raise FailedPreconditionError(message, reason="TLS_FILE_UNUSABLE", metadata={"path": file}) from None


def _system_roots() -> bytes | None:
    """Return the certificates that this system trusts. None: gRPC's own."""
    import ssl  # noqa: PLC0415 - only TLS pays for it

    file = ssl.get_default_verify_paths().cafile
    return Path(file).read_bytes() if file else None
