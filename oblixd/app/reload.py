"""Reads the configuration again while the daemon runs, and takes over what can change live.

All of it is checked before anything is changed: a file that is wrong changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from oblixd.access import ClientLimits
from oblixd.app import wiring
from oblixd.app.paths import Paths
from oblixd.config import view
from oblixd.config.loader import Loaded, load
from oblixd.config.schema import Config
from oblixd.models.http.outbound import NetworkConfig
from oblixd.models.providers.catalog import Factory
from oblixd.models.pulls import Pulls
from oblixd.models.registry import Registry
from oblixd.monitor import Monitor
from oblixd.router.policies import Policies
from oblixd.scheduling.slots import ModelSlots
from oblixd.usage import Usage

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """What became of reading the configuration again."""

    applied_keys: tuple[str, ...]
    """Settings that changed and count from now on."""
    waiting_keys: tuple[str, ...]
    """Settings that changed in the file and count after a restart."""
    notices: tuple[str, ...]
    """Settings in an old form."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What takes over new settings."""

    registry: Registry
    monitor: Monitor
    usage: Usage
    policies: Policies
    slots: ModelSlots
    pulls: Pulls
    limits: ClientLimits
    endpoints: dict[str, str]
    """Where each provider's models are for a hook that names no endpoint."""
    embedded_names: Sequence[str]
    """The embedded models that this daemon began with."""
    factories: Callable[[Config], Mapping[str, Factory]]
    set_network: Callable[[NetworkConfig], None]
    set_grace: Callable[[float], None]


class Reloader:
    """Knows the configuration that counts, and reads it anew. Belongs to one event loop."""

    def __init__(self, paths: Paths, environ: Mapping[str, str], loaded: Loaded, parts: Parts) -> None:
        self.loaded_config = loaded
        """What counts now. Settings that wait for a restart stand in it as they were."""
        self._paths = paths
        self._environ = environ
        self._parts = parts

    def reload(self) -> ReloadResult:
        """Read file and environment again, and take over what can change live.

        Raises ConfigError for a file that is wrong, and FailedPreconditionError for a key that can't
        be read: then nothing has changed.
        """
        fresh = load(self._paths.config, self._environ)
        changed = view.changes(self.loaded_config.config, fresh.config)
        applied = [key for key in changed if key in view.LIVE]
        waiting = [key for key in changed if key not in view.LIVE]
        if wiring.embedded_files(fresh.config) != wiring.embedded_files(self.loaded_config.config):
            waiting.append("models (embedded)")
        config = _without_pending(self.loaded_config.config, fresh.config, waiting)
        self._apply(config)
        self.loaded_config = Loaded(config, fresh.sources, fresh.notices)
        logger.info(
            "the configuration was read again: changed %s; after a restart %s",
            ", ".join(applied) or "nothing",
            ", ".join(waiting) or "nothing",
        )
        return ReloadResult(tuple(applied), tuple(waiting), fresh.notices)

    def _apply(self, config: Config) -> None:
        parts = self._parts
        # Whatever can be refused comes before the first change.
        prices, caps, policies = wiring.prices(config), wiring.caps(config), wiring.policies(config)
        specs = wiring.models(config, list(parts.embedded_names), self._environ)
        known = [spec for spec in specs if spec.provider != "embedded" or spec.name in parts.embedded_names]
        parts.usage.configure(prices, caps)
        parts.policies.replace(policies)
        parts.limits.limits = wiring.limits(config)
        parts.slots.limit_queue(config.execution.queue_length)
        parts.endpoints.clear()
        parts.endpoints.update(wiring.endpoints(config))
        parts.pulls.endpoint = config.ollama.endpoint
        if wiring.network(config) != wiring.network(self.loaded_config.config):
            parts.set_network(wiring.network(config))
            parts.monitor.network.begin_anew()
        same_ollama = wiring.ollama(config) == wiring.ollama(self.loaded_config.config)
        parts.registry.configure(
            parts.factories(config), known, keep=lambda spec: same_ollama or spec.provider != "ollama"
        )
        parts.set_grace(config.daemon.grace_s)
        logging.getLogger("oblixd").setLevel(config.daemon.log_level.upper())


def _without_pending(before: Config, after: Config, names: list[str]) -> Config:
    """Give the new configuration, with what waits for a restart as it was."""
    import msgspec  # noqa: PLC0415 - only a reload needs it

    for key in names:
        section, _, name = key.partition(".")
        if not name:
            if key == "listen":
                after = msgspec.structs.replace(after, listen=before.listen)
            continue
        kept = {name: getattr(getattr(before, section), name)}
        changed = msgspec.structs.replace(getattr(after, section), **kept)
        after = msgspec.structs.replace(after, **{section: changed})
    return after
