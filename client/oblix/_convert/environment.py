"""Which server the environment of this program names for a provider, and the key that belongs to it.

The two are read together, for each hook. A URL out of the environment of one project never gets a key
out of the keyring, which was kept for another server.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from oblix._convert.file_io import path_of
from oblix._convert.validation import invalid
from oblix.models import ModelType

URLS = {
    ModelType.OPENAI: "OPENAI_BASE_URL",
    ModelType.CLAUDE: "ANTHROPIC_BASE_URL",
    ModelType.OLLAMA: "OLLAMA_HOST",
}
KEYS = {
    ModelType.OPENAI: "OPENAI_API_KEY",
    ModelType.CLAUDE: "ANTHROPIC_API_KEY",
    ModelType.OLLAMA: "OLLAMA_API_KEY",
}
OLLAMA_PORT = 11434
LARGEST_CERTIFICATES = 1 << 20
"""Characters of certificates that a hook may send."""
NETWORK = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables that other programs reach the network by."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the environment says of one provider."""

    endpoint: str = ""
    key: str = field(default="", repr=False)
    variable: str = ""
    """Where the key stands."""


def surroundings(kind: ModelType, environ: Mapping[str, str] = os.environ) -> Surroundings:
    """Read what the environment says. Raises InvalidArgumentError for an OLLAMA_HOST that can't be read."""
    given = environ.get(URLS.get(kind, ""), "").strip()
    variable = KEYS.get(kind, "")
    if kind is ModelType.OLLAMA:
        # Its key is for a server that the environment names; one on this machine wants none.
        key = environ.get(variable, "").strip() if given else ""
        return Surroundings(ollama_url(given) if given else "", key, variable)
    return Surroundings(given, environ.get(variable, "").strip(), variable)


def ollama_url(host: str) -> str:
    """Write OLLAMA_HOST as a URL, as Ollama's own client reads it. Raises InvalidArgumentError.

    https://github.com/ollama/ollama/blob/main/envconfig/config.go: host, port and scheme may each be left
    out. An address that a server listens on everywhere (0.0.0.0) leads to this machine.
    """
    scheme, has_scheme, rest = host.strip("\"' ").rpartition("://")
    try:
        url = urlsplit(f"//{rest}")
        port = url.port or {"http": 80, "https": 443}.get(scheme, OLLAMA_PORT)
    except ValueError:
        raise invalid("OLLAMA_HOST", "a host, a port or a URL", repr(host)) from None
    name = _reachable(url.hostname or "127.0.0.1")
    return f"{scheme if has_scheme else 'http'}://{name}:{port}{url.path.rstrip('/')}"


def certificates(options: dict[str, Any]) -> dict[str, Any]:
    """Read the certificates that a hook's `ca_file` and `ca_dir` name, and put them in their place.

    The daemon opens no path that a program names. Raises InvalidArgumentError, NotFoundError.
    """
    named = {key: options.pop(key) for key in ("ca_file", "ca_dir") if options.get(key) is not None}
    files = [(key, file) for key, path in named.items() for file in _files(key, path_of(path))]
    if files:
        data = "\n".join(_certificates(key, file) for key, file in files)
        if len(data) > LARGEST_CERTIFICATES:
            raise invalid("ca_file", f"at most {LARGEST_CERTIFICATES:,} characters", f"{len(data):,}")
        options["ca_data"] = data
    return options


def network_hint(environ: Mapping[str, str] = os.environ) -> str:
    """Say that this program's environment names a proxy or certificates which the daemon does not use."""
    # A variable that names the system's own certificates changes nothing.
    system = ("/etc/ssl/", "/etc/pki/", "/usr/lib/ssl/")
    found = [name for name in NETWORK if environ.get(name) and not environ[name].startswith(system)]
    if not found:
        return ""
    names = " and ".join(found[:2])
    return (
        f" {names} of this environment is not used by the daemon: "
        "`oblix config import-environment` takes it over."
    )


def _reachable(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if "." in host else "[::1]"
    return f"[{host}]" if ":" in host else host


def _files(key: str, path: Path) -> list[Path]:
    if key == "ca_file":
        return [path]
    found = {file for pattern in ("*.pem", "*.crt", "*.cer", "*.[0-9]") for file in path.glob(pattern)}
    if not found:
        raise invalid(key, "a directory with *.pem, *.crt or *.cer", str(path))
    return sorted(found)


def _certificates(key: str, file: Path) -> str:
    """Give the certificates of a file, and nothing else of it: a private key may stand beside them."""
    import ssl  # noqa: PLC0415 - only who names certificates pays for it

    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    try:
        text = file.read_text("ascii", "replace")
        parts = [part.partition(end)[0] for part in text.split(begin)[1:]]
        found = "\n".join(f"{begin}{part}{end}" for part in parts)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=found)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", "") if isinstance(error, FileNotFoundError | PermissionError) else ""
        raise invalid(key, "a PEM file with certificates", f"{file}: {why or 'it holds none'}") from None
    return found
