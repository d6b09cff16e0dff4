"""Who can serve a model: one entry a provider. Adding one is a file beside this and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from oblixd.models.base import Connection
from oblixd.models.embedded.connection import EmbeddedModels
from oblixd.models.hook_spec import HookSpec
from oblixd.models.http.adaptation import Adaptations
from oblixd.models.http.connection import HttpConnection, NetworkNow
from oblixd.models.http.outbound import NetworkConfig
from oblixd.models.http.request_trace import OnExchange, unheard
from oblixd.models.http.server import Works
from oblixd.models.providers.claude import ClaudeConnection
from oblixd.models.providers.custom import CustomConnection
from oblixd.models.providers.ollama import SETTINGS, OllamaConnection
from oblixd.models.providers.ollama_status import OllamaSettings
from oblixd.models.providers.openai import OpenAIConnection

Factory = Callable[[HookSpec], Connection]
"""Makes a connection without touching the network. Must not fail for a spec that `hooks.checked` made."""


def providers(
    embedded: EmbeddedModels,
    ollama: OllamaSettings = SETTINGS,
    on_exchange: OnExchange = unheard,
    network: NetworkNow = NetworkConfig,
    *,
    works: Works | None = None,
) -> Mapping[str, Factory]:
    """Map each provider's name to what makes its connections. These tell of every exchange with a server.

    `works` is asked of a silent server on this machine.
    """
    served: dict[str, Callable[[HookSpec], HttpConnection]] = {
        "ollama": partial(OllamaConnection, settings=ollama, on_exchange=on_exchange, network=network),
        "openai": partial(OpenAIConnection, on_exchange=on_exchange, network=network),
        "claude": partial(ClaudeConnection, on_exchange=on_exchange, network=network),
        "custom": partial(CustomConnection, on_exchange=on_exchange, network=network),
    }

    adaptations = Adaptations()

    def make_connection(make: Callable[[HookSpec], HttpConnection], spec: HookSpec) -> Connection:
        connection = make(spec)
        connection.learn_of(works=works, adaptation=adaptations.of(spec.endpoint, spec.name))
        return connection

    return {
        "embedded": embedded.connect,
        **{name: partial(make_connection, make) for name, make in served.items()},
    }
