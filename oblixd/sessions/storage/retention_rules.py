"""What becomes of sessions to which nothing is added for long, and of deleted ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from oblix.v1 import sessions_pb2

from oblixd.errors import invalid_field
from oblixd.store.v1 import records_pb2 as records

Action: TypeAlias = sessions_pb2.RetentionAction.ValueType

MAX_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class RetentionConfig:
    """How long sessions are kept."""

    deleted_days: int = 30
    """Days for which a deleted session can be brought back, at most 36,500. 0: not at all."""
    retention_days: int = 0
    """Days after the last change, at most 36,500, for what has no retention of its own. 0: for ever."""
    retention_action: Action = sessions_pb2.RETENTION_ACTION_ARCHIVE
    """What then becomes of them."""


DEFAULT = RetentionConfig()


def checked_action(action: Action, field: str) -> Action:
    """Return the action to use: unset is ARCHIVE. InvalidArgumentError for one that there is not."""
    if action not in sessions_pb2.RetentionAction.values():
        known = ", ".join(sessions_pb2.RetentionAction.keys())
        raise invalid_field("INVALID_VALUE", field, f"must be one of {known}.", limit=known, given=action)
    return action or sessions_pb2.RETENTION_ACTION_ARCHIVE


def check_days(days: int, field: str) -> None:
    """0 to 36,500."""
    if not 0 <= days <= MAX_DAYS:
        raise invalid_field(
            "INVALID_DAYS",
            field,
            f"must be 0 to {MAX_DAYS:,} days, not {days}.",
            limit=f"0 to {MAX_DAYS}",
            given=days,
        )


def retention_record(retention: sessions_pb2.Retention) -> records.RetentionRecord:
    """Return the record of a retention; InvalidArgumentError where it is none."""
    check_days(retention.days, "session.retention.days")
    action = checked_action(retention.action, "session.retention.action")
    return records.RetentionRecord(days=retention.days, action=action)
