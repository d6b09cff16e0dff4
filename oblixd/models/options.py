"""What can be said of a connection to a model: in a hook, and in the configuration's `[[models]]`.

One schema for both, so that they take the same names, ranges and refusals.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import msgspec

from oblixd.errors import invalid_argument
from oblixd.fields import FieldError, Fields, convert, number, text

LARGEST_COUNT = 2**31 - 1
"""The most tokens that an option can name."""
MOST_STREAMS = 1000
"""The most executions at once that an option can name."""
LONGEST_WAIT_S = 86_400.0
MOST_ENTRIES = 64
"""The most headers, query parameters, body fields or aliases of one model."""
LARGEST_TRUST = 1 << 20
"""Bytes of certificates that a hook may send."""
_HIDDEN = "hidden"

_HEADER = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}"
Tokens = Annotated[int, number(1, LARGEST_COUNT)]
Seconds = Annotated[float, number(0.1, LONGEST_WAIT_S)]
Price = Annotated[float, number(0, 1e9)]
HeaderName = Annotated[str, text(_HEADER, "a header's name: letters, digits and hyphens")]
HeaderValue = Annotated[
    str,
    text(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", "1 or more printable ASCII characters", is_secret=True),
]
Parameter = Annotated[
    str, text(r"[\x20-\x7e]{0,2048}", "at most 2,048 printable ASCII characters", is_secret=True)
]
FieldName = Annotated[
    str, text(r"[A-Za-z0-9_.-]{1,64}", "a field's name of 1 to 64 letters, digits and underscores")
]
Alias = Annotated[str, text(r"[^\s:]{1,64}", "a name of 1 to 64 characters without a space or a colon")]
PROXY_FORM = "http://HOST:PORT, with USER:PASSWORD@ before the host if the proxy needs them, or none"
Proxy = Annotated[str, text(r"none|https?://([^\s/@]+@)?[^\s/@?#]+/?", PROXY_FORM, is_secret=True)]
AbsolutePath = Annotated[str, text("/.*", "an absolute path")]
KeepAlive = Annotated[
    str,
    text(
        r"-?(\d{1,9}|(\d{1,9}(\.\d{1,9})?(ns|us|ms|s|m|h))+)",
        'a duration such as "10m" or "1h30m", seconds such as "600", or "-1" for ever',
    ),
]
"""How long an Ollama server keeps a model loaded after an answer.

It is a duration of Go's (https://pkg.go.dev/time#ParseDuration), or whole seconds; a negative one means
for ever.
"""
_UNIT_SECONDS = {"": 1.0, "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class ModelPrice(Fields, frozen=True):
    """The price of a million tokens."""

    input: Price
    """For the context."""
    output: Price
    """For the answer."""
    cache_read: Price | None = None
    """For tokens that the server read from its cache. Default: the price of the context."""
    cache_write: Price | None = None
    """For tokens that the server wrote to its cache. Default: the price of the context."""


class ModelOptions(Fields, frozen=True, omit_defaults=True):
    """How the daemon reaches a model, and what it sends. None: the provider's default."""

    task: Annotated[str, text("chat|embedding", "chat or embedding")] | None = None
    """The task of the model: `chat` (the default) answers prompts, `embedding` turns texts into vectors."""
    context_window: Tokens | None = None
    """The context window in tokens, if the server does not report it. Never larger than the real one."""
    num_ctx: Tokens | None = None
    """The context window in tokens with which Ollama or the embedded engine loads the model."""
    keep_alive: KeepAlive | None = None
    """How long Ollama keeps the model loaded after an answer."""
    max_running: Annotated[int, number(1, MOST_STREAMS)] | None = None
    """The number of prompts that the server gets at once. The others wait in the daemon, in order. Default:
    the number that the server reports, or 1,000."""
    api: Annotated[str, text("completions|responses", "completions or responses")] | None = None
    """The API of OpenAI that the model uses. Default: the server's answer decides."""
    headers: dict[HeaderName, HeaderValue] = msgspec.field(default_factory=dict)
    """Headers of every request. Their values are never shown."""
    query: dict[FieldName, Parameter] = msgspec.field(default_factory=dict)
    """Query parameters of every request, such as Azure's `api-version`."""
    extra_body: dict[str, Any] = msgspec.field(default_factory=dict)
    """Fields that the daemon adds to the body of every prompt, in the provider's form."""
    omit: tuple[FieldName, ...] = ()
    """Fields that the daemon leaves out of the body of every prompt, because the server refuses them."""
    key_header: HeaderName | None = None
    """The header that carries only the key. Default: the provider's own form."""
    connect_timeout_s: Seconds | None = None
    """Seconds for the connection, including TLS."""
    first_token_timeout_s: Seconds | None = None
    """Seconds from the request to the first content, also if pings arrive. Default: 300 of silence."""
    idle_timeout_s: Seconds | None = None
    """Seconds of silence; pings end it. Default: 300 before the first content, 120 after it."""
    price: ModelPrice | None = None
    """The price of a million tokens of context and of answer. It overrides `[usage] prices`."""
    aliases: tuple[Alias, ...] = ()
    """Other names by which a prompt can name the model."""
    proxy: Proxy | None = None
    """The proxy for this model; `none`: no proxy. Default: `[network] proxy`."""
    ca_file: AbsolutePath | None = None
    """A PEM file with certificates that the daemon trusts for this model, in addition to the system's."""
    ca_dir: AbsolutePath | None = None
    """A directory with such files."""
    ca_data: Annotated[str, text(r"(?s:-----BEGIN .*)", "certificates in PEM form")] | None = None
    """The certificates themselves, as a hook sends them."""


NONE = ModelOptions()


def options_of(values: Mapping[str, object], at: str = "options") -> ModelOptions:
    """Check what a hook says. Raises InvalidArgumentError INVALID_HOOK with the field."""
    for name in ("ca_file", "ca_dir"):
        if name in values:
            # Which files this daemon reads is no program's to say.
            message = f"{at}.{name} is for the configuration: send the certificates themselves as ca_data."
            raise invalid_argument("INVALID_HOOK", message, field=f"{at}.{name}")
    try:
        options = convert(_restore_integers(values), ModelOptions, at)
        _check_counts(options, at)
    except FieldError as error:
        limit, shown = (error.limit, error.given_value) if error.limit else (None, None)
        raise invalid_argument(
            "INVALID_HOOK", error.message, field=error.path[:100], limit=limit, given=shown
        ) from None
    return options


def display_options(options: ModelOptions) -> dict[str, Any]:
    """Return what may be shown of options: without what is not set, and with possible secrets hidden."""
    plain: dict[str, Any] = msgspec.to_builtins(options)
    for name in ("headers", "query"):
        if name in plain:
            plain[name] = {key: _shown_value(name, key, value) for key, value in plain[name].items()}
    if plain.get("proxy") not in {None, "none"}:
        plain["proxy"] = _HIDDEN
    if "ca_data" in plain:
        plain["ca_data"] = f"{len(plain['ca_data']):,} characters"
    return plain


def keep_alive_seconds(duration: str) -> float:
    """Return a valid `KeepAlive` in seconds; infinity for a negative one."""
    if duration.startswith("-"):
        return math.inf
    pieces = re.findall(r"([\d.]+)([a-z]*)", duration)
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in pieces)


def wire_keep_alive(duration: str) -> str:
    """Return it as Ollama reads it: a number that is a text without a unit is refused there."""
    return duration if duration[-1].isalpha() else f"{duration}s"


def secrets_of(options: ModelOptions) -> tuple[str, ...]:
    """Name what must not be repeated in any message: values of headers and parameters, a proxy's password."""
    shown_ones = {value for key, value in options.query.items() if key == "api-version"}
    password = unquote(urlsplit(options.proxy or "").password or "")
    given = [*options.headers.values(), *options.query.values(), password]
    # A server that repeats a key leaves out the word before it, as in "Bearer KEY".
    words = [word for value in given for word in (value, value.rpartition(" ")[2])]
    return tuple(value for value in dict.fromkeys(words) if value and value not in shown_ones)


def _shown_value(kind: str, key: str, value: str) -> str:
    return value if kind == "query" and key == "api-version" else _HIDDEN


def _check_counts(options: ModelOptions, at: str) -> None:
    for name in ("headers", "query", "extra_body", "omit", "aliases"):
        if (count := len(getattr(options, name))) > MOST_ENTRIES:
            path, limit = f"{at}.{name}", f"at most {MOST_ENTRIES}"
            raise FieldError(
                path, f"{path} takes {limit} entries, not {count}.", limit=limit, given=str(count)
            )
    if not _is_finite(options.extra_body):
        path = f"{at}.extra_body"
        raise FieldError(path, f"{path} takes finite numbers, not NaN or infinity: JSON has neither.")
    if options.ca_data is not None and len(options.ca_data) > LARGEST_TRUST:
        path, limit = f"{at}.ca_data", f"at most {LARGEST_TRUST:,} bytes"
        raise FieldError(path, f"{path} takes {limit}.", limit=limit, given=str(len(options.ca_data)))


def _is_finite(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _restore_integers(value: Any) -> Any:
    """Turn whole doubles into integers: a protobuf Struct has every number as a double."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _restore_integers(one) for key, one in value.items()}
    return [_restore_integers(one) for one in value] if isinstance(value, list | tuple) else value
