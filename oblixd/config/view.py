"""Every setting as it counts now: its value, where it comes from, and whether it changes live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from oblixd.config import schema
from oblixd.config.loader import Loaded, Source
from oblixd.config.reference import meanings_in
from oblixd.config.schema import Config, ModelTable
from oblixd.config.settings import settings
from oblixd.models import options

LIVE = frozenset(
    {
        *("models", "ollama.endpoint", "ollama.models", "ollama.num_ctx", "ollama.keep_alive"),
        *("ollama.parallel", "openai.endpoint", "openai.models", "openai.key_file"),
        *("claude.endpoint", "claude.models", "claude.key_file"),
        *("usage.prices", "usage.currency", "usage.daily_cap", "usage.monthly_cap", "usage.cap_action"),
        *("routing.policy", "routing.cloud", "routing.policies", "routing.rules"),
        *("network.proxy", "network.no_proxy", "network.ca_file", "network.ca_dir"),
        *("daemon.log_level", "daemon.grace_s", "execution.queue_length"),
        *("limits.executions", "limits.calls_per_second", "limits.request_mib"),
    }
)
"""What a running daemon takes over when its configuration is read again. The rest waits for a restart."""


@dataclass(frozen=True, slots=True)
class Row:
    """One setting."""

    key: str
    value: Any
    """As plain values; what may be a secret is hidden."""
    default: Any
    source: Source
    meaning: str
    accepted_values: str
    variable: str
    """The environment variable that overrides it. Empty: none can."""

    @property
    def is_live(self) -> bool:
        """Whether a reload changes it."""
        return self.key in LIVE


def rows(loaded: Loaded) -> Iterator[Row]:
    """List every setting, in the order of the reference page, then the models."""
    meanings = _meanings()
    for setting in settings():
        value = getattr(getattr(loaded.config, setting.section), setting.name)
        yield Row(
            setting.key,
            display_value(setting.key, value),
            msgspec.to_builtins(setting.default),
            loaded.sources.get(setting.key, Source.DEFAULT),
            meanings[setting.key],
            setting.type_text,
            setting.variable,
        )
    source = loaded.sources.get("models", Source.DEFAULT)
    models = [shown_model(table) for table in loaded.config.models]
    yield Row("models", models, [], source, meanings["config.models"], "tables", "")
    listen = msgspec.to_builtins(loaded.config.listen)
    source = loaded.sources.get("listen", Source.DEFAULT)
    yield Row("listen", listen, [], source, meanings["config.listen"], "tables", "")


def display_value(key: str, value: Any) -> Any:
    """Give a value as it may be shown: a proxy without its password."""
    plain = msgspec.to_builtins(value)
    if key != "network.proxy" or plain == "none":
        return plain
    url = urlsplit(plain)
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{'***@' if url.username else ''}{url.hostname}{port}"


def shown_model(table: ModelTable) -> dict[str, Any]:
    """Give a `[[models]]` table as it may be shown: values of headers and parameters are hidden."""
    plain: dict[str, Any] = msgspec.to_builtins(table)
    hidden = options.display_options(table)
    return {name: hidden.get(name, value) for name, value in plain.items() if value not in (None, "", [], {})}


def changes(before: Config, after: Config) -> list[str]:
    """Name what differs between two configurations."""
    keys = [
        setting.key
        for setting in settings()
        if getattr(getattr(before, setting.section), setting.name)
        != getattr(getattr(after, setting.section), setting.name)
    ]
    tables = [name for name in ("models", "listen") if getattr(before, name) != getattr(after, name)]
    return [*keys, *tables]


@cache
def _meanings() -> Mapping[str, str]:
    return meanings_in(Path(schema.__file__))
