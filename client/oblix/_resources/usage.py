"""What was used, and what it cost."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal, get_args

from oblix._convert.validation import describe, invalid, text
from oblix._resources.core import Core
from oblix.reports import UsageReport
from oblix.v1 import daemon_pb2

UsageGroup = Literal["model", "day", "client", "session"]

_GROUPS = {
    "model": daemon_pb2.USAGE_GROUP_MODEL,
    "day": daemon_pb2.USAGE_GROUP_DAY,
    "client": daemon_pb2.USAGE_GROUP_CLIENT,
    "session": daemon_pb2.USAGE_GROUP_SESSION,
}


class UsageCalls(Core):
    """Reading the daemon's books."""

    def usage(
        self,
        by: UsageGroup = "model",
        first_day: date | str | None = None,
        last_day: date | str | None = None,
        *,
        session_id: str | None = None,
        model: str | None = None,
    ) -> UsageReport:
        """What all programs of this user used, summed up by model, day, client (its program) or session.

        Days are those of `[usage] time_zone`, else the system's, at most 400 of them: dates, or
        texts as YYYY-MM-DD; without any, the last 30 and today. `session_id` and
        `model` (`provider:name`): only this one's. Raises InvalidArgumentError.
        """
        if by not in get_args(UsageGroup):
            raise invalid("by", "one of " + ", ".join(_GROUPS), describe(by))
        request = daemon_pb2.GetUsageRequest(
            first_day=_day(first_day, "first_day"),
            last_day=_day(last_day, "last_day"),
            group=_GROUPS[by],
            session_id=text(session_id or "", "session_id"),
            model=text(model or "", "model"),
        )
        answer = self._transport.call(lambda link: link.daemon.GetUsage, request, repeatable=True)
        return UsageReport(
            rows=[{"key": row.key, **_counts(row)} for row in answer.rows],
            total=_counts(answer.total),
            currency=answer.currency,
            budgets=[_budget(budget) for budget in answer.budgets],
        )


def _day(day: date | str | None, field: str) -> str:
    return day.isoformat() if isinstance(day, date) else text(day or "", field)


def _counts(row: daemon_pb2.UsageRow) -> dict[str, Any]:
    return {
        "executions": row.executions,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost": row.cost,
        "unpriced_executions": row.unpriced_executions,
    }


def _budget(budget: daemon_pb2.Budget) -> dict[str, Any]:
    return {
        "period": budget.period,
        "limit": budget.limit,
        "spent": budget.spent,
        "action": budget.action,
    }
