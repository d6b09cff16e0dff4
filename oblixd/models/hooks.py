"""What a hook says, checked: values in, a HookSpec or InvalidArgumentError out."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import SplitResult, urlsplit

from oblixd.errors import InvalidArgumentError
from oblixd.models import keep_alive
from oblixd.models.base import Location

LONGEST_NAME = 256
"""Characters of a model's name."""
LONGEST_ENDPOINT = 2048
"""Characters of an endpoint."""
LARGEST_KEY = 8192
"""Bytes of a key."""
LARGEST_COUNT = 2**31 - 1
"""The most tokens that an option can name."""
MOST_STREAMS = 1000
"""The most executions at once that an option can name."""
PROVIDERS = ("embedded", "ollama", "openai", "claude", "custom")

_OWN_ENDPOINTS = {
    "ollama": "http://localhost:11434",
    "openai": "https://api.openai.com/v1",
    "claude": "https://api.anthropic.com",
}
_PORTS = {"http": 80, "https": 443}
OptionValue = int | str


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
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    """num_ctx and context_window (tokens), max_running (streams at once), keep_alive (text)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    def __hash__(self) -> int:
        return hash(
            (self.provider, self.name, self.endpoint, self.api_key, self.location, *self._sorted_options())
        )

    @property
    def id(self) -> str:
        """provider:name."""
        return f"{self.provider}:{self.name}"

    def count(self, option: str) -> int | None:
        """Give an option that is a whole number, None where it is not set."""
        value = self.options.get(option)
        return value if isinstance(value, int) else None

    def _sorted_options(self) -> list[tuple[str, OptionValue]]:
        return sorted(self.options.items())


def checked(
    provider: str,
    name: str,
    *,
    endpoint: str = "",
    api_key: str = "",
    location: Location | None = None,
    options: Mapping[str, object] | None = None,
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
    return HookSpec(
        provider, name, _endpoint(provider, endpoint), api_key, location, _options(dict(options or {}))
    )


def derived_location(spec: HookSpec) -> Location:
    """Where a model runs: what the hook says, else what provider, endpoint and name tell."""
    if spec.location is not None:
        return spec.location
    if spec.provider == "embedded":
        return Location.LOCAL
    if spec.provider == "ollama" and _is_loopback(spec.endpoint) and not _is_hosted(spec.name):
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


def _options(options: Mapping[str, object]) -> dict[str, OptionValue]:
    return {key: _option(key, value) for key, value in options.items()}


def _option(key: str, value: object) -> OptionValue:
    where = f"options.{key}"
    match key:
        case "num_ctx" | "context_window":
            return _tokens(where, value)
        case "max_running":
            return _streams(where, value)
        case "keep_alive":
            if not isinstance(value, str) or not re.fullmatch(keep_alive.PATTERN, value, re.ASCII):
                raise _invalid(where, f"keep_alive is a text: {keep_alive.FORM}.", given=value)
            return value
    raise _invalid(where[:100], "Known options are num_ctx, context_window, max_running and keep_alive.")


def _tokens(where: str, value: object) -> int:
    # A Struct carries every number as a double.
    if not isinstance(value, int | float) or isinstance(value, bool) or not _is_count(value):
        raise _invalid(where, "It is a whole number of tokens, 1 or more.", limit=LARGEST_COUNT, given=value)
    return int(value)


def _streams(where: str, value: object) -> int:
    if not isinstance(value, int | float) or isinstance(value, bool) or not _is_count(value, MOST_STREAMS):
        raise _invalid(where, "It is a whole number of executions at once.", limit=MOST_STREAMS, given=value)
    return int(value)


def _is_count(value: float, most: int = LARGEST_COUNT) -> bool:
    return 1 <= value <= most and value == int(value)


def _is_header(value: str) -> bool:
    return value.isascii() and (value.isprintable() or not value)


def _is_loopback(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_hosted(name: str) -> bool:
    """Ollama passes these on to its own cloud, through a server that looks local."""
    return name.lower().endswith(("-cloud", ":cloud"))


def _length(field_name: str, what: str, limit: int, given: int) -> InvalidArgumentError:
    return _invalid(field_name, f"{what} has 1 to {limit} characters, not {given}.", limit=limit, given=given)


def _invalid(field_name: str, message: str, **metadata: object) -> InvalidArgumentError:
    return InvalidArgumentError("INVALID_HOOK", message, field=field_name, **metadata)
