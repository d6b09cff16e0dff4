"""Where a model's server is, as people write it: which part of a URL is the server, a call, a parameter.

People paste what their provider's page shows: a base URL, or the URL of one call with its
parameters. Azure's form has the deployment in the path and the version of its API in a parameter:
https://learn.microsoft.com/azure/ai-services/openai/reference
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

from oblixd.errors import InvalidArgumentError, invalid_argument

LONGEST_ENDPOINT = 2048
"""Characters of an endpoint."""
AZURE_VERSION = "2024-10-21"
"""The version of Azure's API that is asked for where the URL of a deployment names none."""
OWN = {
    "ollama": "http://localhost:11434",
    "openai": "https://api.openai.com/v1",
    "claude": "https://api.anthropic.com",
}
"""Where each provider's models are unless somebody says."""
_COMPLETIONS = r"/chat/completions|/completions|/responses|/embeddings|(?<=/v1)/models"
_CALLS = {
    "openai": _COMPLETIONS,
    "custom": _COMPLETIONS,
    "claude": r"(/v1)?/messages(/count_tokens)?|/v1/models|/v1",
    "ollama": r"/api/(chat|generate|tags|show)|/v1/chat/completions|/api|/v1",
}
"""The paths of single calls, which are no part of an endpoint."""
_AZURE = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
_DEPLOYMENTS = "/openai/deployments/"
_SECRET_PARAMETERS = frozenset(
    {
        *("key", "api_key", "api-key", "apikey", "access_token", "token", "sig", "signature"),
        *("secret", "password", "subscription-key", "code"),
    }
)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model's server."""

    url: str
    """Scheme, host, and the path that all calls have in common. No slash at its end."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Parameters that go with every call."""
    key_header: str | None = None
    """The header that carries the key alone, where this kind of server wants one."""


def endpoint_of(provider: str, text: str, model: str) -> Endpoint:
    """Read an endpoint; empty stands for the provider's own. Raises InvalidArgumentError."""
    if provider == "embedded":
        if text:
            raise invalid_hook("endpoint", "The embedded model has no endpoint: leave it out.", given=text)
        return Endpoint("")
    text = text or OWN.get(provider, "")
    if not text:
        raise invalid_hook("endpoint", "A custom model needs the URL of its server.")
    url = _parse(text)
    path = _without_call(provider, url.path.rstrip("/"))
    server = f"{url.scheme}://{url.netloc.lower()}"
    if provider in {"openai", "custom"} and is_azure(url):
        return _azure(server, path, _parameters(url), model)
    return Endpoint(server + path, _parameters(url))


def is_azure(url: SplitResult) -> bool:
    """Return whether a URL has Azure's form: by its host, or by the path of a deployment behind a gateway."""
    return (url.hostname or "").endswith(_AZURE) or _DEPLOYMENTS in f"{url.path}/"


def origin_of(endpoint: str) -> str:
    """Scheme, host and port of a checked endpoint, the port always told; empty for none."""
    if not endpoint:
        return ""
    url = urlsplit(endpoint)
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    return f"{url.scheme}://{host}:{url.port or _PORTS[url.scheme]}"


def is_loopback(endpoint: str) -> bool:
    """Return whether an endpoint's host is this machine by its name or address.

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


def invalid_hook(
    field: str, message: str, *, limit: object = None, given: object = None
) -> InvalidArgumentError:
    """Make the error for a hook with a value that can't be."""
    return invalid_argument("INVALID_HOOK", message, field=field, limit=limit, given=given)


def _parse(endpoint: str) -> SplitResult:
    if len(endpoint) > LONGEST_ENDPOINT:
        count = len(endpoint)
        message = f"An endpoint has 1 to {LONGEST_ENDPOINT} characters, not {count}."
        raise invalid_hook("endpoint", message, limit=LONGEST_ENDPOINT, given=count)
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
        raise invalid_hook("endpoint", "An endpoint is a URL such as http://localhost:11434.")
    if url.username is not None or url.password is not None or "#" in endpoint:
        raise invalid_hook("endpoint", "An endpoint has no user and no fragment: send a key as api_key.")
    return url


def _parameters(url: SplitResult) -> dict[str, str]:
    parameters = dict(parse_qsl(url.query, keep_blank_values=True))
    if secret := next((name for name in parameters if name.lower() in _SECRET_PARAMETERS), None):
        raise invalid_hook(
            "endpoint",
            f"The parameter {secret} of the endpoint looks like a key: send it as api_key, or as "
            "headers or query of the model.",
        )
    return parameters


def _without_call(provider: str, path: str) -> str:
    return re.sub(rf"(?:{_CALLS[provider]})$", "", path).rstrip("/")


def _azure(server: str, path: str, query: dict[str, str], model: str) -> Endpoint:
    if path in {"", "/openai"}:
        # A resource: its newer API, unless the parameters ask for a version of the older one.
        path = f"{_DEPLOYMENTS}{quote(model, safe='')}" if "api-version" in query else "/openai/v1"
    if _DEPLOYMENTS in f"{path}/":
        query.setdefault("api-version", AZURE_VERSION)
    return Endpoint(server + path, query, "api-key")
