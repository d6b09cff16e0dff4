"""What a hook says, checked: values in, a HookSpec or InvalidArgumentError out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import msgspec

from oblixd.errors import InvalidArgumentError
from oblixd.models.base import Location
from oblixd.models.endpoints import Endpoint, endpoint_of, invalid_hook, is_loopback
from oblixd.models.http.loops import refuse_own
from oblixd.models.options import NONE, ModelOptions, options_of

LONGEST_NAME = 256
"""Characters of a model's name."""
LARGEST_KEY = 8192
"""Bytes of a key."""
PROVIDERS = ("embedded", "ollama", "openai", "claude", "custom")


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
    """How it is reached and what it is given. May hold secrets: `options.display_options` hides them."""

    def __hash__(self) -> int:
        options = msgspec.json.encode(self.options, order="sorted")
        return hash((self.provider, self.name, self.endpoint, self.api_key, self.location, options))

    @cached_property
    def id(self) -> str:
        """provider:name."""
        return f"{self.provider}:{self.name}"

    @property
    def embeds(self) -> bool:
        """Whether the model turns texts into vectors, and answers no prompts."""
        return self.options.task == "embedding"

    def count(self, option: str) -> int | None:
        """Give an option that is a whole number, None where it is not set."""
        value = getattr(self.options, option)
        return value if isinstance(value, int) else None


def spec_of(
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
        raise invalid_hook(
            "provider", f"Say who serves the model: one of {', '.join(PROVIDERS)}.", given=provider
        )
    if not 1 <= len(name) <= LONGEST_NAME:
        raise _length("name", "The model's name", LONGEST_NAME, len(name))
    if len(api_key.encode("utf-8", "surrogatepass")) > LARGEST_KEY or not _is_header(api_key):
        raise invalid_hook(
            "api_key", f"A key has at most {LARGEST_KEY} printable ASCII characters.", limit=LARGEST_KEY
        )
    given = options if isinstance(options, ModelOptions) else options_of(options or {})
    if provider == "claude" and given.task == "embedding":
        raise invalid_hook("options.task", "Claude has no embeddings: take another provider for them.")
    if provider == "custom" and location is None:
        raise invalid_hook("location", 'Say where the endpoint runs: location="local" or location="cloud".')
    found = endpoint_of(provider, endpoint, name)
    refuse_own(found.url)
    spec = HookSpec(provider, name, found.url, api_key, location, _with_endpoint(given, found))
    if given.proxy not in {None, "none"} and derived_location(spec) is Location.LOCAL:
        raise invalid_hook(
            "options.proxy", "A model that runs locally is never reached through a proxy: leave it out."
        )
    return spec


def derived_location(spec: HookSpec) -> Location:
    """Return where a model runs: what the hook says, else what provider, endpoint and name tell."""
    if spec.location is not None:
        return spec.location
    if spec.provider == "embedded":
        return Location.LOCAL
    if spec.provider == "ollama" and is_loopback(spec.endpoint) and not _is_hosted(spec.name):
        return Location.LOCAL
    return Location.CLOUD


def _with_endpoint(options: ModelOptions, endpoint: Endpoint) -> ModelOptions:
    """Add what an endpoint says of its server. What the options say themselves goes before it."""
    if not endpoint.query and endpoint.key_header is None:
        return options
    return msgspec.structs.replace(
        options,
        query={**endpoint.query, **options.query},
        key_header=options.key_header or endpoint.key_header,
    )


def _is_header(value: str) -> bool:
    return value.isascii() and (value.isprintable() or not value)


def _is_hosted(name: str) -> bool:
    """Ollama passes these on to its own cloud, through a server that looks local."""
    return name.lower().endswith(("-cloud", ":cloud"))


def _length(field_name: str, what: str, limit: int, tokens: int) -> InvalidArgumentError:
    return invalid_hook(
        field_name, f"{what} has 1 to {limit} characters, not {tokens}.", limit=limit, given=tokens
    )
