"""Each provider with its test server and its connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from oblix.testing import ClaudeServer, ModelServer, OllamaServer, OpenAIServer

from oblixd.models.base import Connection, Location
from oblixd.models.hook_spec import HookSpec, spec_of
from oblixd.models.http.server import Timeouts
from oblixd.models.providers.claude import ClaudeConnection
from oblixd.models.providers.custom import CustomConnection
from oblixd.models.providers.ollama import OllamaConnection
from oblixd.models.providers.openai import OpenAIConnection

SHORT_S = {"connect_s": 0.2, "first_s": 0.3, "stall_s": 1.0, "content_s": 1.0}
"""Each limit, short: for servers that never answer. The longer ones begin before the answer does."""


def impatient(limit: str) -> Timeouts:
    """Timeouts of which one is short; for the others there is all the time that a busy machine needs."""
    return replace(Timeouts(connect_s=60.0), **{limit: SHORT_S[limit]})


@dataclass(frozen=True)
class Kind:
    """A provider: its test server, and what connects to it."""

    provider: str
    server: Callable[..., ModelServer]
    connect: Callable[..., Connection]
    model: str

    def spec(self, endpoint: str, api_key: str = "") -> HookSpec:
        location = Location.LOCAL if self.provider == "custom" else None
        return spec_of(self.provider, self.model, endpoint=endpoint, api_key=api_key, location=location)


KINDS = {
    "ollama": Kind("ollama", OllamaServer, OllamaConnection, "llama2"),
    "openai": Kind("openai", OpenAIServer, OpenAIConnection, "gpt-4o-mini"),
    "custom": Kind("custom", OpenAIServer, CustomConnection, "gpt-4o-mini"),
    "claude": Kind("claude", ClaudeServer, ClaudeConnection, "claude-3-haiku-20240307"),
}
