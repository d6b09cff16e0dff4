"""What answers used, and what they cost: the entries of `usage`, and their sums."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from oblixd.store.v1 import records_pb2 as records

NANO = 1_000_000_000
"""Costs are counted in billionths: whole numbers, so that every sum is exact in whatever order."""


class Group(Enum):
    """What the rows of a report are for. The values are names of a row's fields on disk but for DAY."""

    MODEL = "model"
    DAY = "day"
    PROGRAM = "program"
    SESSION = "session_id"


@dataclass(frozen=True, slots=True)
class UsageEntry:
    """One execution that reached a model."""

    request_id: str
    """1 to 128 printable ASCII characters. It is counted once."""
    model: str
    """provider:name of the model that answered."""
    program: str = ""
    """The client's program, as it named itself, without its process id."""
    session_id: str = ""
    """Empty: none."""
    input_tokens: int | None = None
    """As the model's server counted them; None: it did not."""
    output_tokens: int | None = None
    cost: float | None = None
    """In the configuration's currency. None: not known."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a report."""

    key: str
    """The model, day (YYYY-MM-DD), program or session. Empty in a total."""
    executions: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0
    """In billionths of the currency, as far as prices are known."""
    unpriced_executions: int = 0

    @property
    def cost(self) -> float:
        """In the currency."""
        return self.cost_nano / NANO

    def plus(self, record: records.ConsumptionRecord) -> Row:
        """Add what a record holds."""
        return Row(
            self.key,
            self.executions + record.executions,
            self.input_tokens + record.input_tokens,
            self.output_tokens + record.output_tokens,
            self.cost_nano + record.cost_nano,
            self.unpriced_executions + record.unpriced_executions,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What was used in some days."""

    rows: list[Row]
    """The most expensive first, then the most tokens; days in their order. At most 1,000."""
    total: Row
    """All of it, also what is in none of the rows."""


def add(record: records.ConsumptionRecord, entry: UsageEntry) -> None:
    """Count an entry."""
    record.executions += 1
    record.input_tokens += entry.input_tokens or 0
    record.output_tokens += entry.output_tokens or 0
    if entry.cost is None:
        record.unpriced_executions += 1
    else:
        record.cost_nano += nano_of(entry)


def nano_of(entry: UsageEntry) -> int:
    """Return what an entry cost in billionths; nothing where that is not known."""
    return round((entry.cost or 0) * NANO)
