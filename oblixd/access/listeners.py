"""Where the daemon listens beside its socket: TCP on this machine with a token, wider only with TLS."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from oblixd.errors import invalid_argument, out_of_range

DEFAULT_PORT = 4321
FORM = "tcp://HOST:PORT, for example tcp://127.0.0.1:4321"
PATTERN = r"tcp://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253}):\d{1,5}"
_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """One place to listen, and what protects it."""

    host: str
    """A name or an address, without brackets."""
    port: int
    """0: any free one."""
    certificate: str = ""
    """The path of the PEM file with the certificate chain. Empty: no TLS."""
    key: str = ""
    """The path of the PEM file with the private key. Empty: it stands in the certificate's file."""
    client_ca: str = ""
    """The path of the PEM file with who signs the certificates of clients. Empty: clients need none."""

    @property
    def target(self) -> str:
        """The address as gRPC takes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check(self, section: str = "[[listen]]") -> None:
        """Raise InvalidArgumentError TLS_REQUIRED for an address that others reach without TLS.

        `section`: the part of the configuration that it comes from.
        """
        if self.is_loopback or self.certificate:
            return
        message = (
            f"tcp://{self.target} can be reached from other machines, so it needs TLS: name a "
            f"certificate and a key under {section} in the configuration, or listen on 127.0.0.1."
        )
        field = section.strip("[]")
        raise invalid_argument("TLS_REQUIRED", message, field=field, given=self.target)


def parse_address(text: str, certificate: str = "", key: str = "", client_ca: str = "") -> ListenAddress:
    """Read an address. Raises InvalidArgumentError LISTEN_INVALID, or TLS_REQUIRED."""
    if not re.fullmatch(PATTERN, text) or int(text.rpartition(":")[2]) > _MAX_PORT:
        raise out_of_range("LISTEN_INVALID", "listen", FORM, repr(text[:80]))
    host, _, port = text.removeprefix("tcp://").rpartition(":")
    address = ListenAddress(host.strip("[]"), int(port), certificate, key, client_ca)
    if client_ca and not certificate:
        message = f"tcp://{address.target} names client_ca, which needs TLS: name certificate and key, too."
        raise invalid_argument("LISTEN_INVALID", message, field="listen.client_ca")
    address.check()
    return address
