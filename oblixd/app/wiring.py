"""The settings as each package takes them: plain values out of one configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from pathlib import Path

import msgspec
from msgspec.structs import astuple
from oblix.v1.sessions_pb2 import RetentionAction

from oblixd.access import Limits, ListenAddress, parse_address
from oblixd.app import api_keys
from oblixd.app.paths import Paths
from oblixd.config.loader import ConfigError
from oblixd.config.schema import Claude, Config, ModelTable, OpenAI, PolicyTable, PriceTable
from oblixd.errors import InvalidArgumentError
from oblixd.fields import convert, names_of
from oblixd.http import HttpSettings
from oblixd.models import hook_spec
from oblixd.models.base import Location
from oblixd.models.embedded import files
from oblixd.models.embedded.connection import EmbeddedSettings
from oblixd.models.embedded.weights import DEFAULT_NAME
from oblixd.models.endpoints import is_loopback
from oblixd.models.hook_spec import HookSpec
from oblixd.models.http.outbound import NetworkConfig
from oblixd.models.options import ModelOptions
from oblixd.models.providers.ollama_status import OllamaSettings
from oblixd.router.policies import Policies
from oblixd.routing.policy_text import Definition, Rule, definition_of, rule_of
from oblixd.sessions import RetentionConfig
from oblixd.usage import Caps, Price, Prices
from oblixd.usage.budgets import Action
from oblixd.usage.days import zone_of
from oblixd.usage.prices import parse_price

GIB = 1 << 30
LEAST_LOAD_THRESHOLD = 4.0
"""Load average from which a machine of up to four cores is constrained. Larger ones count one a core."""


def retention_config(config: Config) -> RetentionConfig:
    """Return how long conversations are kept."""
    given = config.sessions
    action = RetentionAction.Value(f"RETENTION_ACTION_{given.retention_action.upper()}")
    return RetentionConfig(given.deleted_days, given.retention_days, action)


def prices(config: Config) -> Prices:
    """Return what models cost."""
    entries = [_price(entry) for entry in config.usage.prices]
    own = {f"{one.provider}:{one.name}": one.price for one in config.models if one.price}
    return Prices({**dict(entries), **{model: Price(*astuple(price)) for model, price in own.items()}})


def _price(entry: PriceTable | str) -> tuple[str, Price]:
    if isinstance(entry, str):
        return parse_price(entry)
    return entry.model, Price(entry.input, entry.output, entry.cache_read, entry.cache_write)


def caps(config: Config) -> Caps:
    """Return what may be spent."""
    given = config.usage
    action: Action = "local" if given.cap_action == "local" else "refuse"
    return Caps(given.daily_cap, given.monthly_cap, action, given.currency)


def time_zone(config: Config) -> tzinfo | None:
    """Return whose days count. Raises ConfigError for a name that is not known."""
    try:
        return zone_of(config.usage.time_zone)
    except InvalidArgumentError as error:
        raise ConfigError(error.reason, error.message, **error.metadata) from error


def policies(config: Config) -> Policies:
    """Return how prompts are routed. Raises ConfigError for a policy that is missing or invalid."""
    given = config.routing
    own = [definition_of(one) if isinstance(one, str) else _definition(one) for one in given.policies]
    rules = [
        rule_of(one) if isinstance(one, str) else Rule(one.key, one.value, one.policy) for one in given.rules
    ]
    try:
        return Policies(
            own,
            rules,
            given.policy,
            allows_cloud=given.cloud == "yes",
            load_threshold=max(LEAST_LOAD_THRESHOLD, float(os.cpu_count() or 1)),
        )
    except InvalidArgumentError as error:
        message = f"The configuration's [routing]: {error.message}"
        raise ConfigError(error.reason, message, **error.metadata) from error


def _definition(table: PolicyTable) -> Definition:
    thresholds = msgspec.structs.asdict(table)
    name, base = thresholds.pop("name"), thresholds.pop("base")
    return Definition(name, base, {key: value for key, value in thresholds.items() if value is not None})


def embedded_settings(config: Config, paths: Paths) -> EmbeddedSettings:
    """Return how the daemon's own models are served."""
    given = config.embedded
    return EmbeddedSettings(
        runtime_dir=paths.runtime_dir,
        state_dir=paths.data,
        files=embedded_files(config),
        max_memory_bytes=round(given.max_memory_gib * GIB),
        context=given.context,
        slots=given.parallel,
        threads=given.threads,
        max_tokens=given.max_tokens,
        idle_unload_s=given.idle_unload_s,
    )


def ollama(config: Config) -> OllamaSettings:
    """Return how Ollama is asked."""
    given = config.ollama
    return OllamaSettings(given.endpoint, given.num_ctx, given.keep_alive, given.parallel)


def network(config: Config, ignored: Sequence[str] = ()) -> NetworkConfig:
    """Return how other machines are reached. `ignored`: variables of the environment, for messages."""
    given = config.network
    return NetworkConfig(given.proxy, given.no_proxy, given.ca_file, given.ca_dir, tuple(ignored))


def endpoints(config: Config) -> dict[str, str]:
    """Return where a provider's models are, for a hook that names no endpoint."""
    return {
        "ollama": config.ollama.endpoint,
        "openai": config.openai.endpoint,
        "claude": config.claude.endpoint,
    }


def http(config: Config) -> HttpSettings:
    """Return how other people's tools are served. Raises ConfigError for an address that needs TLS."""
    given = config.http
    address = ListenAddress(given.host, given.port, given.certificate, given.key, given.client_ca)
    return HttpSettings(
        _checked_address(address, without_token=given.ollama_without_token),
        origins=given.origins,
        aliases={alias.name: alias.model for alias in given.aliases},
        record=given.record,
        ollama_without_token=given.ollama_without_token,
    )


def _checked_address(address: ListenAddress, *, without_token: bool) -> ListenAddress:
    try:
        address.check("[http]")
    except InvalidArgumentError as error:
        raise ConfigError(error.reason, error.message, **error.metadata) from error
    if without_token and not address.is_loopback:
        message = (
            f"The configuration's [http] lets tools in without a token, and {address.host} can be reached "
            "from other machines: take ollama_without_token out, or listen on 127.0.0.1."
        )
        raise ConfigError("CONFIG_INVALID", message, field="http.ollama_without_token")
    return address


def limits(config: Config) -> Limits:
    """Return what one client may do."""
    given = config.limits
    return Limits(given.executions, given.calls_per_second, given.request_mib << 20)


def listen(config: Config, more: Sequence[str] = ()) -> list[ListenAddress]:
    """Return where to listen beside the socket. `more`: addresses of the command line. Raises ConfigError."""
    try:
        tables = [
            parse_address(one.address, one.certificate, one.key, one.client_ca) for one in config.listen
        ]
        return [*tables, *(parse_address(one) for one in more)]
    except InvalidArgumentError as error:
        raise ConfigError(error.reason, error.message, **error.metadata) from error


def models(config: Config, own: Sequence[str], environ: Mapping[str, str]) -> list[HookSpec]:
    """List the models that serve if none was hooked: those of `[[models]]` in their order, then the rest.

    These are the daemon's `own` ones by name, and those of the providers' sections.

    Raises ConfigError for a model that stands there twice, and for one that can't be.
    """
    given = config.ollama
    tables = [_hook_spec(config, number, environ) for number in range(len(config.models))]
    embedded_ones = [HookSpec("embedded", name) for name in own] if config.embedded.enabled else []
    ollama_ones = [hook_spec.spec_of("ollama", name, endpoint=given.endpoint) for name in given.models]
    rest = [*embedded_ones, *ollama_ones, *_cloud_models(config, environ)]
    _check_once([spec.id for spec in tables])
    named = {spec.id for spec in tables}
    return [*tables, *(spec for spec in rest if spec.id not in named)]


def embedded_files(config: Config) -> dict[str, Path | None]:
    """Return the files of embedded models by their names. None: the packaged one."""
    own = [one for one in config.models if one.provider == "embedded"]
    answers = any(one.task != "embedding" for one in own)
    # A model for embeddings beside the packaged one does not take its place.
    entries = config.embedded.models or (() if answers else (DEFAULT_NAME,))
    return files.configured_files(entries, {one.name: one.file for one in own})


def _hook_spec(config: Config, number: int, environ: Mapping[str, str]) -> HookSpec:
    table, at = config.models[number], f"models[{number}]"
    try:
        options = convert(
            {
                key: value
                for key, value in msgspec.to_builtins(table).items()
                if key in names_of(ModelOptions)
            },
            ModelOptions,
        )
        return hook_spec.spec_of(
            table.provider,
            table.name,
            endpoint=table.endpoint or ("" if table.provider == "embedded" else _own_endpoint(config, table)),
            api_key=_key(config, table, environ),
            location=_location(table),
            options=options,
        )
    except InvalidArgumentError as error:
        field = f"{at}.{error.metadata.get('field', '')}"
        message = f"The configuration's {at} ({table.provider}:{table.name}): {error.message}"
        raise ConfigError("CONFIG_INVALID", message, **{**error.metadata, "field": field}) from error


def _own_endpoint(config: Config, table: ModelTable) -> str:
    return endpoints(config).get(table.provider, "")


def _location(table: ModelTable) -> Location | None:
    if table.location is not None:
        return Location(table.location)
    return Location.LOCAL if table.provider == "custom" and is_loopback(table.endpoint) else None


def _key(config: Config, table: ModelTable, environ: Mapping[str, str]) -> str:
    """Return the key that a table names; else that of the provider's section, for its own endpoint only."""
    if table.key_keyring:
        return api_keys.keyring_key(table.key_keyring)
    if table.key_credential:
        return api_keys.credential(table.key_credential, environ)
    if table.key_file:
        return api_keys.configured_key(table.provider, table.key_file, environ)
    sections: dict[str, OpenAI | Claude] = {"openai": config.openai, "claude": config.claude}
    section = sections.get(table.provider)
    if section is None or table.endpoint not in {"", section.endpoint}:
        return ""
    return api_keys.configured_key(table.provider, section.key_file, environ)


def _check_once(ids: Sequence[str]) -> None:
    for number, one in enumerate(ids):
        if one in ids[:number]:
            message = f"The configuration's [[models]] names {one} twice: leave one out, or give it an alias."
            raise ConfigError("CONFIG_INVALID", message, field=f"models[{number}].name", given=one)


def _cloud_models(config: Config, environ: Mapping[str, str]) -> Iterator[HookSpec]:
    for provider, given in (("openai", config.openai), ("claude", config.claude)):
        key = api_keys.configured_key(provider, given.key_file, environ) if given.models else ""
        for name in given.models:
            yield hook_spec.spec_of(provider, name, endpoint=given.endpoint, api_key=key)
