"""What imports and prunes say, session by session, and what was used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["imported", "grown", "skipped", "refused"]


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
    """What a prune did, or would do."""

    sessions: list[dict[str, Any]]
    """The first 1,000, as `list_sessions` told them before; `action` says what became of each."""
    total_count: int
    """How many there were in all."""


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What was used in some days."""

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
