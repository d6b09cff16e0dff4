"""What a hook says, checked: values in, a HookSpec or InvalidArgumentError out."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

import msgspec

from oblixd.errors import InvalidArgumentError
from oblixd.models.base import Location
from oblixd.models.options import NONE, ModelOptions, options_of

LONGEST_NAME = 256
"""Characters of a model's name."""
LONGEST_ENDPOINT = 2048
"""Characters of an endpoint."""
LARGEST_KEY = 8192
"""Bytes of a key."""
PROVIDERS = ("embedded", "ollama", "openai", "claude", "custom")

_OWN_ENDPOINTS = {
    "ollama": "http://localhost:11434",
    "openai": "https://api.openai.com/v1",
    "claude": "https://api.anthropic.com",
}
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class HookSpec:
    """A connection to a model, as somebody asked for it. Equal specs are one connection."""

    provider: str
    """One of `PROVIDERS`."""
    name: str
    """The provider's name for the model."""
    endpoint: str = ""
    """A URL; empty for the embedded model."""
    api_key: str = field(default="", repr=False)
    location: Location | None = None
    """None: derived from the provider, the endpoint and the name."""
    options: ModelOptions = field(default=NONE, repr=False)
    """How it is reached and what it is given. May hold secrets: `options.shown` hides them."""

    def __hash__(self) -> int:
        options = msgspec.json.encode(self.options, order="sorted")
        return hash((self.provider, self.name, self.endpoint, self.api_key, self.location, options))

    @property
    def id(self) -> str:
        """provider:name."""
        return f"{self.provider}:{self.name}"

    def count(self, option: str) -> int | None:
        """Give an option that is a whole number, None where it is not set."""
        value = getattr(self.options, option)
        return value if isinstance(value, int) else None


def checked(
    provider: str,
    name: str,
    *,
    endpoint: str = "",
    api_key: str = "",
    location: Location | None = None,
    options: Mapping[str, object] | ModelOptions | None = None,
) -> HookSpec:
    """Make a spec of what somebody sent; defaults are filled in, so that equal connections are equal.

    Raises InvalidArgumentError with the `field`, and with `limit` and `given` where there is one.
    """
    if provider not in PROVIDERS:
        raise _invalid(
            "provider", f"Say who serves the model: one of {', '.join(PROVIDERS)}.", given=provider
        )
    if not 1 <= len(name) <= LONGEST_NAME:
        raise _length("name", "The model's name", LONGEST_NAME, len(name))
    if len(api_key.encode("utf-8", "surrogatepass")) > LARGEST_KEY or not _is_header(api_key):
        raise _invalid(
            "api_key", f"A key has at most {LARGEST_KEY} printable ASCII characters.", limit=LARGEST_KEY
        )
    if provider == "custom" and location is None:
        raise _invalid("location", 'Say where the endpoint runs: location="local" or location="cloud".')
    given = options if isinstance(options, ModelOptions) else options_of(options or {})
    return HookSpec(provider, name, _endpoint(provider, endpoint), api_key, location, given)


def derived_location(spec: HookSpec) -> Location:
    """Where a model runs: what the hook says, else what provider, endpoint and name tell."""
    if spec.location is not None:
        return spec.location
    if spec.provider == "embedded":
        return Location.LOCAL
    if spec.provider == "ollama" and is_loopback(spec.endpoint) and not _is_hosted(spec.name):
        return Location.LOCAL
    return Location.CLOUD


def origin_of(endpoint: str) -> str:
    """Scheme, host and port of a checked endpoint, the port always told; empty for none."""
    if not endpoint:
        return ""
    url = urlsplit(endpoint)
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    return f"{url.scheme}://{host}:{url.port or _PORTS[url.scheme]}"


def _endpoint(provider: str, endpoint: str) -> str:
    if provider == "embedded":
        if endpoint:
            raise _invalid("endpoint", "The embedded model has no endpoint: leave it out.", given=endpoint)
        return ""
    endpoint = endpoint or _OWN_ENDPOINTS.get(provider, "")
    if not endpoint:
        raise _invalid("endpoint", "A custom model needs the URL of its server.")
    if len(endpoint) > LONGEST_ENDPOINT:
        raise _length("endpoint", "An endpoint", LONGEST_ENDPOINT, len(endpoint))
    return _normal(_url(endpoint))


def _url(endpoint: str) -> SplitResult:
    # urlsplit drops line ends and tabs without a word.
    sound = endpoint.isascii() and endpoint.isprintable() and " " not in endpoint
    try:
        url = urlsplit(endpoint)
        sound = sound and url.port != 0 and bool(url.hostname) and url.scheme in {"http", "https"}
        # As the resolver will: it takes no empty label, and none of more than 63 characters.
        (url.hostname or "").encode("idna")
    except ValueError:
        sound = False
    if not sound:
        raise _invalid("endpoint", "An endpoint is a URL such as http://localhost:11434.")
    if url.username is not None or url.password is not None or "?" in endpoint or "#" in endpoint:
        raise _invalid("endpoint", "An endpoint has no user, query or fragment: send a key as api_key.")
    return url


def _normal(url: SplitResult) -> str:
    return f"{url.scheme}://{url.netloc.lower()}{url.path.rstrip('/')}"


def _is_header(value: str) -> bool:
    return value.isascii() and (value.isprintable() or not value)


def is_loopback(endpoint: str) -> bool:
    """Whether an endpoint's host is this machine by its name or address.

    `0.0.0.0` and `::` lead to this machine, and so does a loopback address mapped into IPv6.
    """
    host = urlsplit(endpoint).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def _is_hosted(name: str) -> bool:
    """Ollama passes these on to its own cloud, through a server that looks local."""
    return name.lower().endswith(("-cloud", ":cloud"))


def _length(field_name: str, what: str, limit: int, given: int) -> InvalidArgumentError:
    return _invalid(field_name, f"{what} has 1 to {limit} characters, not {given}.", limit=limit, given=given)


def _invalid(field_name: str, message: str, **metadata: object) -> InvalidArgumentError:
    return InvalidArgumentError("INVALID_HOOK", message, field=field_name, **metadata)
