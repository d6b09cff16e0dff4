"""The settings as each room takes them: the plain values that it is made with, out of one configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from oblix.v1.sessions_pb2 import RetentionAction

from oblixd import keys
from oblixd.config import Config
from oblixd.errors import InvalidArgumentError
from oblixd.execution.policies import Policies
from oblixd.loading import ConfigError
from oblixd.models import hooks
from oblixd.models.embedded import files
from oblixd.models.embedded.connection import EmbeddedSettings
from oblixd.models.hooks import HookSpec
from oblixd.models.ollama_facts import OllamaSettings
from oblixd.paths import Paths
from oblixd.sessions import Keeping
from oblixd.usage import Caps, Prices
from oblixd.usage.budgets import Action

GIB = 1 << 30


def keeping(config: Config) -> Keeping:
    """How long conversations are kept."""
    given = config.sessions
    action = RetentionAction.Value(f"RETENTION_ACTION_{given.retention_action.upper()}")
    return Keeping(given.deleted_days, given.retention_days, action)


def prices(config: Config) -> Prices:
    """What models cost."""
    return Prices(config.usage.prices)


def caps(config: Config) -> Caps:
    """What may be spent."""
    given = config.usage
    action: Action = "local" if given.cap_action == "local" else "refuse"
    return Caps(given.daily_cap, given.monthly_cap, action, given.currency)


def policies(config: Config) -> Policies:
    """How prompts are routed. Raises ConfigError for a policy that is not there or can't be."""
    given = config.routing
    try:
        return Policies(given.policies, given.rules, given.policy)
    except InvalidArgumentError as error:
        message = f"The configuration's [routing]: {error.message}"
        raise ConfigError(error.reason, message, **error.metadata) from error


def embedded(config: Config, paths: Paths) -> EmbeddedSettings:
    """How the daemon's own models are served."""
    given = config.embedded
    return EmbeddedSettings(
        runtime_dir=paths.runtime_dir,
        state_dir=paths.data,
        files=files.configured(given.models),
        max_memory_bytes=round(given.max_memory_gib * GIB),
        context=given.context,
        slots=given.parallel,
        threads=given.threads,
        max_tokens=given.max_tokens,
        idle_unload_s=given.idle_unload_s,
    )


def ollama(config: Config) -> OllamaSettings:
    """How Ollama is asked."""
    given = config.ollama
    return OllamaSettings(given.endpoint, given.num_ctx, given.keep_alive, given.parallel)


def endpoints(config: Config) -> dict[str, str]:
    """Where a provider's models are, for a hook that names no endpoint."""
    return {
        "ollama": config.ollama.endpoint,
        "openai": config.openai.endpoint,
        "claude": config.claude.endpoint,
    }


def models(config: Config, own: Sequence[str], environ: Mapping[str, str]) -> list[HookSpec]:
    """The models that serve where none was hooked: the daemon's `own` ones first, by name."""
    given = config.ollama
    embedded_ones = [HookSpec("embedded", name) for name in own] if config.embedded.enabled else []
    ollama_ones = [hooks.checked("ollama", name, endpoint=given.endpoint) for name in given.models]
    return [*embedded_ones, *ollama_ones, *_cloud_models(config, environ)]


def _cloud_models(config: Config, environ: Mapping[str, str]) -> Iterator[HookSpec]:
    for provider, given in (("openai", config.openai), ("claude", config.claude)):
        key = keys.configured(provider, given.key_file, environ) if given.models else ""
        for name in given.models:
            yield hooks.checked(provider, name, endpoint=given.endpoint, api_key=key)
