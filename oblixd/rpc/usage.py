"""GetUsage: requests in the words of the usage package, and its reports in those of the contract."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date

from oblix.v1 import daemon_pb2

from oblixd.errors import out_of_range
from oblixd.usage import BudgetState, Group, Row, Usage

_GROUPS = {
    daemon_pb2.USAGE_GROUP_UNSPECIFIED: Group.MODEL,
    daemon_pb2.USAGE_GROUP_MODEL: Group.MODEL,
    daemon_pb2.USAGE_GROUP_DAY: Group.DAY,
    daemon_pb2.USAGE_GROUP_CLIENT: Group.PROGRAM,
    daemon_pb2.USAGE_GROUP_SESSION: Group.SESSION,
}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_SHOWN_CHARACTERS = 40


async def read(usage: Usage, request: daemon_pb2.GetUsageRequest) -> daemon_pb2.GetUsageResponse:
    """Return the report that a request asks for. InvalidArgumentError where a day or the group is none."""
    report = await usage.report(
        first_day=_day(request.first_day, "first_day"),
        last_day=_day(request.last_day, "last_day"),
        group=_group(request.group),
        session_id=request.session_id,
        model=request.model,
    )
    return daemon_pb2.GetUsageResponse(
        rows=[_row(row) for row in report.rows],
        total=_row(report.total),
        currency=usage.currency,
        budgets=[_budget(state) for state in usage.budgets()],
    )


def _day(text: str, field: str) -> date | None:
    if not text:
        return None
    with suppress(ValueError):
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    raise out_of_range("INVALID_DAYS", field, "a day as YYYY-MM-DD", repr(text[:_SHOWN_CHARACTERS]))


def _group(group: daemon_pb2.UsageGroup.ValueType) -> Group:
    if group not in _GROUPS:
        raise out_of_range(
            "INVALID_VALUE", "group", "one of " + ", ".join(daemon_pb2.UsageGroup.keys()), repr(group)
        )
    return _GROUPS[group]


def _row(row: Row) -> daemon_pb2.UsageRow:
    return daemon_pb2.UsageRow(
        key=row.key,
        executions=row.executions,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cost=row.cost,
        unpriced_executions=row.unpriced_executions,
    )


def _budget(state: BudgetState) -> daemon_pb2.Budget:
    return daemon_pb2.Budget(
        period=state.period, limit=state.limit, spent=state.spent_amount, action=state.action
    )
