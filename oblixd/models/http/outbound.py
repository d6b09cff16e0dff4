"""How servers outside this machine are reached: by which proxy, and by whose certificates.

The configuration decides, for all models and for one. The environment of the program that
started the daemon decides nothing: it would intercept everybody's prompts.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from oblixd.models.endpoints import is_loopback
from oblixd.models.options import ModelOptions

DIRECT = "none"
VARIABLES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
"""What other programs are told by the environment. OpenSSL itself reads two of them."""
TAKE_OVER = "oblix config import-environment"
"""The command that writes these variables into the configuration."""
SYSTEM_STORES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where Debian, Fedora, SUSE and Alpine keep the certificates that the system trusts."""
_CERTIFICATES = ("*.pem", "*.crt", "*.cer", "*.[0-9]")


class TrustError(Exception):
    """Certificates that can't be used. The message says which and why."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """What the configuration's `[network]` says."""

    proxy: str = DIRECT
    no_proxy: tuple[str, ...] = ()
    ca_file: str = ""
    ca_dir: str = ""
    ignored_variables: tuple[str, ...] = ()
    """Variables of the daemon's own environment that other programs would go by, and the daemon does not."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that a connection goes through."""

    url: str
    """Without user and password."""
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def of(cls, text: str) -> Proxy:
        """Read a URL that may hold a user and a password."""
        url = urlsplit(text)
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        return cls(f"{url.scheme}://{host}:{port}", unquote(url.username or ""), unquote(url.password or ""))


@dataclass(frozen=True, slots=True)
class Trust:
    """Certificates that are trusted beside the system's."""

    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    data: str = field(default="", repr=False)

    def context(self) -> ssl.SSLContext:
        """Make what checks a server's certificate. Raises TrustError. Takes tens of milliseconds, once."""
        return _context(self)


@dataclass(frozen=True, slots=True)
class OutboundRoute:
    """How one model's server is reached."""

    proxy: Proxy | None = None
    trust: Trust = field(default_factory=Trust)
    is_silent: bool = False
    """The configuration says nothing of how this server, outside this machine, is reached."""
    hint: str = ""
    """What an error about reaching the server adds: that the environment names a proxy, which is not used."""


def outbound_route_of(
    endpoint: str, options: ModelOptions, network: NetworkConfig, *, is_local: bool
) -> OutboundRoute:
    """Decide how a model's server is reached.

    A server on this machine, and one whose model runs locally, is never reached through a
    proxy: a local-only prompt would pass through it.
    """
    files = tuple(file for file in (network.ca_file, options.ca_file) if file)
    directories = tuple(one for one in (network.ca_dir, options.ca_dir) if one)
    trust = Trust(files, directories, options.ca_data or "")
    if is_local or is_loopback(endpoint):
        return OutboundRoute(None, trust)
    host = urlsplit(endpoint).hostname or ""
    chosen = options.proxy or (DIRECT if is_excluded(host, network.no_proxy) else network.proxy)
    is_silent = trust == Trust() and network.proxy == DIRECT and not options.proxy
    hint = _hint(network) if is_silent else ""
    return OutboundRoute(None if chosen == DIRECT else Proxy.of(chosen), trust, is_silent, hint)


def is_excluded(host: str, no_proxy: Sequence[str]) -> bool:
    """Return whether a host is reached without the proxy: `example.com` stands for what ends in it, too."""
    return any(_covers(entry.lower(), host.lower()) for entry in no_proxy)


def clean(environ: MutableMapping[str, str]) -> tuple[str, ...]:
    """Take the variables that would decide for everybody out of an environment, and name those set."""
    found = tuple(name for name in VARIABLES if environ.get(name) and not _is_system_s(environ[name]))
    for name in VARIABLES:
        environ.pop(name, None)
    return found


def _is_system_s(path: str) -> bool:
    """Return whether a variable only says where the system's certificates are, which are trusted anyway."""
    return path.startswith(("/etc/ssl/", "/etc/pki/", "/usr/lib/ssl/"))


def _hint(network: NetworkConfig) -> str:
    if not network.ignored_variables:
        return ""
    names = " and ".join(network.ignored_variables[:2])
    return (
        f" The daemon was started with {names}, which it does not use: run `{TAKE_OVER}` to take that over."
    )


def _covers(entry: str, host: str) -> bool:
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        # Not an address and a network: names.
        name = entry.removeprefix("*").removeprefix(".")
        return host == name or host.endswith(f".{name}")


@cache
def has_system_store() -> bool:
    """Return whether this Python finds the system's certificates by itself. A relocated one may not."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile is not None or paths.capath is not None


@lru_cache(maxsize=32)
def _context(trust: Trust) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not has_system_store():
        for store in SYSTEM_STORES:
            if Path(store).is_file():
                context.load_verify_locations(cafile=store)
    for file in trust.files:
        _load(context, Path(file))
    for directory in trust.directories:
        _load_all(context, Path(directory))
    if trust.data:
        try:
            context.load_verify_locations(cadata=trust.data)
        except (ssl.SSLError, ValueError) as error:
            raise TrustError(f"the certificates of the model can't be read ({error})") from None
    return context


def _load(context: ssl.SSLContext, file: Path) -> None:
    try:
        context.load_verify_locations(cafile=os.fspath(file))
    except (OSError, ssl.SSLError) as error:
        why = error.strerror if isinstance(error, FileNotFoundError | PermissionError) else "it holds none"
        raise TrustError(f"no certificates can be read from {file}: {why}") from None


def _load_all(context: ssl.SSLContext, directory: Path) -> None:
    files = sorted({file for pattern in _CERTIFICATES for file in directory.glob(pattern)})
    if not files:
        raise TrustError(f"no certificates can be read from {directory}: it holds no *.pem, *.crt or *.cer")
    for file in files:
        _load(context, file)
