"""What imports and prunes say, session by session; what was used; the models and the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from oblix.results import Result, RetentionAction, Session

Outcome = Literal["imported", "grown", "skipped", "refused"]
UsageGroup = Literal["model", "day", "client", "session"]
ModelState = Literal["ready", "idle", "loading", "unavailable", "cooling_down", "unknown"]


@dataclass(frozen=True, slots=True)
class ImportedSession:
    """What became of one conversation of a file, or of a file that can't be read (on)."""

    outcome: Outcome
    """`grown`: it was imported before, and what was said since was added. `skipped`: it is here already, from
    the same source and with the same content; or was deleted here; or nobody said anything in it."""
    file: str
    place: str = ""
    """Where in the file: `line 3`, `conversation 3`. Empty: the file itself was refused."""
    title: str = ""
    session_id: str = ""
    """The session that it is now, or was already. Empty where it was refused."""
    message_count: int = 0
    """Of the session; where it has grown, of what was added."""
    reason: str = ""
    """UPPER_SNAKE, why it was skipped or refused. Empty where it was imported."""
    detail: str = ""
    """The reason for a person."""
    notes: tuple[str, ...] = ()
    """What of it was left out or kept in another way."""


@dataclass(slots=True)
class ImportReport:
    """What became of everything that was to be imported, in order. It grows while the import runs."""

    sessions: list[ImportedSession] = field(default_factory=list)
    imported: int = 0
    grown: int = 0
    """Sessions that were here already and got more messages."""
    skipped: int = 0
    refused: int = 0
    messages: int = 0
    """Messages of the imported sessions, and those that were added."""
    bytes_read: int = 0
    """Of the files as they are on disk."""
    bytes_total: int = 0

    def add(self, session: ImportedSession) -> None:
        """Count one more."""
        self.sessions.append(session)
        match session.outcome:
            case "imported":
                self.imported += 1
                self.messages += session.message_count
            case "grown":
                self.grown += 1
                self.messages += session.message_count
            case "skipped":
                self.skipped += 1
            case "refused":
                self.refused += 1


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What `OblixClient.prune_sessions` did, or would do."""

    sessions: list[dict[str, Any]]
    """The first 1,000, as `list_sessions` told them before; `action` says what became of each."""
    total_count: int
    """How many there were in all."""


class PrunedSession(Result, frozen=True):
    """What a prune does with one session."""

    session: Session
    """The header before."""
    action: RetentionAction


class PruneResult(Result, frozen=True):
    """What a prune did, or would do."""

    sessions: tuple[PrunedSession, ...]
    """The first 1,000."""
    total_count: int
    """How many there were in all."""


class UsageRow(Result, frozen=True):
    """What was used: by one model, day, program or session, or in all."""

    key: str
    """The model, day, program or session. Empty in a total, and for answers without a session."""
    executions: int
    input_tokens: int
    output_tokens: int
    cost: float
    """As far as prices are known."""
    unpriced_executions: int
    """Executions whose cost is not known."""


class Budget(Result, frozen=True):
    """A limit on costs."""

    period: str
    """`day` or `month`."""
    limit: float
    spent: float
    action: str
    """What happens when it is reached: `refuse` or `local`."""


class UsageSummary(Result, frozen=True):
    """What was used in some days."""

    rows: tuple[UsageRow, ...]
    """The most expensive first, then the most tokens; days in their order. At most 1,000."""
    total: UsageRow
    """All of it, also what rows were left out for."""
    currency: str
    """The configuration's, for all costs."""
    budgets: tuple[Budget, ...]


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What `OblixClient.usage` returns."""

    rows: list[dict[str, Any]]
    """The most expensive first, then the most tokens; days in their order. At most 1,000. Each has its `key`
    (the model, day, program or session; empty for answers without a session), `executions`,
    `input_tokens`, `output_tokens`, `cost`, and `unpriced_executions`, whose cost is not known."""
    total: dict[str, Any]
    """All of it, with the keys of a row but `key`; also what rows were left out for."""
    currency: str
    """The configuration's, for all costs."""
    budgets: list[dict[str, Any]]
    """The configuration's caps: `period` (`day` or `month`), `limit`, `spent`, and the `action` when it is
    reached, `refuse` or `local`."""


class Model(Result, frozen=True):
    """A model that the daemon can talk to, as it was when it was read."""

    id: str
    """`provider:name`, for example `ollama:llama2`."""
    provider: str
    name: str
    location: Literal["local", "cloud", "unknown"]
    state: ModelState
    """`unknown`: nothing was tried yet."""
    state_reason: str = ""
    """Why it can't answer, and what to do."""
    endpoint: str | None = None
    """Its server's URL. None for an embedded model."""
    handle: str | None = None
    """This client's handle. None for a model of the daemon's configuration."""
    has_api_key: bool = False
    context_window: int | None = None
    """In tokens. None: not known; so with the rest."""
    running_count: int = 0
    """Executions that it works on now."""
    queued_count: int = 0
    max_running: int | None = None
    tokens_per_second: float | None = None
    last_time_to_first_token: float | None = None
    """Seconds."""
    cooldown_until: datetime | None = None
    limited_until: datetime | None = None
    """When its server takes requests again, as its rate limit says."""
    features: tuple[str, ...] = ()
    """What it takes beside text: `tools`, `images`, `json_schema`, `reasoning`. Empty: not known."""
    memory_bytes: int | None = None
    options: Mapping[str, Any] = {}
    """What it was hooked with. Never the key."""


class PullProgress(Result, frozen=True):
    """How far a model's server is with fetching a model."""

    status: str
    """What it does now, in its own words."""
    completed_bytes: int
    """Of the current piece."""
    total_bytes: int | None
    """Of the current piece. None: not known."""
    digest: str
    """The current piece. Empty where there is none."""


class Snapshot(Result, frozen=True):
    """This machine and its network, as the daemon measured them last."""

    sampled_at: datetime | None
    """None: nothing was measured yet."""
    resource_state: str
    """`available`, `constrained`, `critical` or `unknown`, under the default policy."""
    connectivity_state: str
    """`optimal`, `degraded`, `disconnected` or `unknown`, under the default policy."""
    resources: dict[str, Any]
    """As `OblixClient.get_resource_metrics` has it. What could not be measured is None."""
    connectivity: dict[str, Any]
    """As `OblixClient.get_connectivity_metrics` has it."""


class DaemonInfo(Result, frozen=True):
    """The daemon that answers."""

    version: str
    pid: int
    started_at: datetime
    capabilities: tuple[str, ...]
    """What it can do: lower-case words that do not change."""
    socket: str
    data: str
    """The directory of the conversations."""
    config: str
    """The configuration file. It need not exist."""
    log: str
    """Empty: it logs to standard error."""
    session_count: int
    running_count: int
    client_count: int
