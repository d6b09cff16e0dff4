"""Every setting in one place: name, type, range, default and meaning.

`oblixd.loading` reads them. `python -m oblixd.config` prints `docs/configuration.md`.
No secret is a setting: keys come with a client's hook, or from a file or a credential
that a setting names.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from oblixd.models import keep_alive
from oblixd.models.embedded.weights import DEFAULT_NAME
from oblixd.routing import written
from oblixd.settings import Between, Matches, reference, settings_of
from oblixd.usage import prices as usage_prices

_MAX_DAYS = 36_500
_MAX_CAP = 1e9

_URL = Matches(r"https?://[^\s/?#@]+(/[^\s?#]*)?", "an http or https URL without user, query or fragment")
_MODELS = Matches(r"\S{1,256}", "names of 1 to 256 characters")
_KEY_FILE = Matches("(/.*)?", "an absolute path, or empty")

_GGUFS = Matches(
    f"[^\\s=/]{{1,200}}=/.+|{DEFAULT_NAME}",
    f"NAME=/absolute/path.gguf; {DEFAULT_NAME} for the packaged one",
)

_HOUR_S = 3600.0
_MONTH_S = 30 * 24 * _HOUR_S


@dataclass(frozen=True, slots=True)
class Daemon:
    """The process itself."""

    grace_s: Annotated[float, Between(0, _HOUR_S)] = 10.0
    """Seconds that running answers may take to finish when the daemon is told to end."""
    idle_exit_s: Annotated[float, Between(0, _MONTH_S)] = 0.0
    """Seconds without a call after which the daemon ends by itself. 0: never."""
    log_level: Annotated[str, Matches("debug|info|warning|error", "debug, info, warning or error")] = "info"
    """How much is logged. Prompts, answers and keys never are."""


@dataclass(frozen=True, slots=True)
class Store:
    """The database of the conversations."""

    map_size_gib: Annotated[int, Between(1, 65536)] = 64
    """The most that it may grow to, in GiB. That is address space: the file is as large as what is in it."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """How long conversations are kept. A day has 24 hours."""

    deleted_days: Annotated[int, Between(0, _MAX_DAYS)] = 30
    """Days for which a deleted session can be brought back. 0: not at all."""
    retention_days: Annotated[int, Between(0, _MAX_DAYS)] = 0
    """Days after its last change when `retention_action` is done to a session. 0: never. A session's own
    retention goes before this one."""
    retention_action: Annotated[str, Matches("archive|delete", "archive or delete")] = "archive"
    """What is then done: `archive` puts it away, `delete` deletes it as a person would."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What models cost, and how much may be spent. Nothing is guessed: what has no price here is counted as
    unpriced. Days and months are those of the daemon's time zone."""

    prices: Annotated[tuple[str, ...], Matches(usage_prices.PATTERN, usage_prices.FORM)] = ()
    """Prices of a million tokens of context and of answer. A `*` at a name's end stands for the rest of it.
    A model on this machine costs nothing unless it has a price here."""
    currency: Annotated[str, Matches("[A-Z]{3}", "three capital letters, as in ISO 4217")] = "USD"
    """What the prices and caps are in."""
    daily_cap: Annotated[float, Between(0, _MAX_CAP)] = 0.0
    """What may be spent in a day. 0: no cap."""
    monthly_cap: Annotated[float, Between(0, _MAX_CAP)] = 0.0
    """What may be spent in a month. 0: no cap."""
    cap_action: Annotated[str, Matches("refuse|local", "refuse or local")] = "refuse"
    """What becomes of a prompt for a model that costs something once a cap is reached: `refuse` refuses it,
    `local` sends it to one that costs nothing."""


@dataclass(frozen=True, slots=True)
class Execution:
    """How prompts are answered."""

    queue_length: Annotated[int, Between(0, 100_000)] = 512
    """Prompts that may wait for a place at one model. Who comes then is refused, or goes to the next one."""


@dataclass(frozen=True, slots=True)
class Routing:
    """Which model a prompt goes to. What the policies do is on the page about [routing](routing.md)."""

    policy: Annotated[str, Matches(written.NAME, "a policy's name")] = "balanced"
    """The policy of prompts for which nobody names one."""
    policies: Annotated[tuple[str, ...], Matches(written.POLICY_PATTERN, written.POLICY_FORM)] = ()
    """Policies of your own: each is one that there is already, with other thresholds."""
    rules: Annotated[tuple[str, ...], Matches(written.RULE_PATTERN, written.RULE_FORM)] = ()
    """Policies for sessions by their metadata. The first that fits counts; a local-only policy always."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Models that need no server: GGUF files, each served by a process of the daemon's own."""

    enabled: bool = True
    """Whether they serve where no model was hooked."""
    models: Annotated[tuple[str, ...], _GGUFS] = ()
    """The files, by the names that their models get. Empty: the packaged one alone."""
    threads: Annotated[int, Between(0, 1024)] = 0
    """Threads that compute. 0: half of the cores, so that others are not starved."""
    context: Annotated[int, Between(512, 1048576)] = 8192
    """Context window of one answer, in tokens, at most the model's own."""
    parallel: Annotated[int, Between(1, 64)] = 1
    """Answers that one model writes at once. Each takes memory for a context of its own."""
    max_tokens: Annotated[int, Between(1, 1048576)] = 1024
    """The longest answer in tokens, where a request names no limit: a small model may find no end."""
    idle_unload_s: Annotated[float, Between(0, _MONTH_S)] = 600.0
    """Seconds without a prompt after which a model leaves the memory. 0: never."""
    max_memory_gib: Annotated[float, Between(0, 65536)] = 0.0
    """What all loaded models together may take, in GiB: an idle one makes room for one that is asked. 0: half
    of what the machine has, or its container."""


@dataclass(frozen=True, slots=True)
class Ollama:
    """An Ollama server."""

    endpoint: Annotated[str, _URL] = "http://localhost:11434"
    """Where it listens. A client's hook may name another one."""
    models: Annotated[tuple[str, ...], _MODELS] = ()
    """Models, by Ollama's names, that serve where none was hooked, after the embedded ones."""
    num_ctx: Annotated[int, Between(512, 1048576)] = 8192
    """Context window that a model is loaded with, in tokens, at most its own. A hook may name another one. It
    goes before the server's own `OLLAMA_CONTEXT_LENGTH`, so that the window is always known."""
    keep_alive: Annotated[str, Matches(keep_alive.PATTERN, keep_alive.FORM)] = "5m"
    """How long a model stays loaded after an answer. A hook may name another time. It goes before the
    server's own `OLLAMA_KEEP_ALIVE`."""
    parallel: Annotated[int, Between(1, 1000)] = 1
    """Prompts that one model is given at once; the others wait here, in their order. As many as the server's
    `OLLAMA_NUM_PARALLEL`, which is 1 unless it was changed."""


@dataclass(frozen=True, slots=True)
class OpenAI:
    """OpenAI's models that serve where none was hooked."""

    endpoint: Annotated[str, _URL] = "https://api.openai.com/v1"
    """Where they are. Another endpoint that speaks OpenAI's chat completions may stand here."""
    models: Annotated[tuple[str, ...], _MODELS] = ()
    """Models, by OpenAI's names, that serve where none was hooked, after those on this machine."""
    key_file: Annotated[str, _KEY_FILE] = ""
    """A file with the key, which only its owner may read. Empty: systemd's credential `openai-api-key`, where
    there is one."""


@dataclass(frozen=True, slots=True)
class Claude:
    """Anthropic's models that serve where none was hooked."""

    endpoint: Annotated[str, _URL] = "https://api.anthropic.com"
    """Where they are."""
    models: Annotated[tuple[str, ...], _MODELS] = ()
    """Models, by Anthropic's names, that serve where none was hooked, after OpenAI's."""
    key_file: Annotated[str, _KEY_FILE] = ""
    """A file with the key, which only its owner may read. Empty: systemd's credential `claude-api-key`, where
    there is one."""


@dataclass(frozen=True, slots=True)
class Monitor:
    """The sampling of the machine and of its network."""

    interval_s: Annotated[float, Between(0.1, _HOUR_S)] = 1.0
    """Seconds between two samples while somebody uses them; it slows down when nobody does."""
    check_interval_s: Annotated[float, Between(1, _HOUR_S)] = 30.0
    """Seconds after which a cloud model's server is looked at (TCP and TLS, nothing is sent) where no request
    showed how fast it can be reached; sooner in times of trouble, not at all while nobody uses the daemon."""


class Source(Enum):
    """Where a setting's value comes from."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Config:
    """All settings."""

    daemon: Daemon = Daemon()
    store: Store = Store()
    sessions: Sessions = Sessions()
    usage: Usage = Usage()
    execution: Execution = Execution()
    routing: Routing = Routing()
    embedded: Embedded = Embedded()
    ollama: Ollama = Ollama()
    openai: OpenAI = OpenAI()
    claude: Claude = Claude()
    monitor: Monitor = Monitor()
    sources: Mapping[str, Source] = field(default_factory=lambda: MappingProxyType({}))
    """Where each value comes from, by `section.name`. What is not in it is a default."""


SETTINGS = tuple(settings_of(Config))
"""All of them, in the order of their sections."""


if __name__ == "__main__":
    sys.stdout.write(reference(SETTINGS, Path(__file__).read_text("utf-8")))
