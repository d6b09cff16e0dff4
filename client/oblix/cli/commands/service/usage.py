"""`oblix usage`: what was used, and what it cost."""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING, Any

from oblix.cli import daemon
from oblix.cli.options import session_ids
from oblix.cli.output import answers, tables

if TYPE_CHECKING:
    from oblix.v1 import daemon_pb2

ABOUT = """Costs come from the prices in the [usage] section of the daemon's configuration; models on this
machine without a price are free. UNPRICED counts the other answers whose model has no price, or whose
server reported no tokens; they are not in COST."""
COLUMNS = {
    "key": "",
    "executions": "ANSWERS",
    "input_tokens": "INPUT TOKENS",
    "output_tokens": "OUTPUT TOKENS",
    "cost": "COST",
    "unpriced_executions": "UNPRICED",
}
SMALL, NANO_DIGITS = 0.01, 9
"""The daemon counts in billionths of the currency."""
THEN = {"refuse": "prompts are refused", "local": "prompts go to models on this machine only"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = ABOUT
    parser.epilog = "A DAY is YYYY-MM-DD."
    parser.add_argument(
        "--by",
        choices=["model", "day", "client", "session"],
        default="model",
        help="what the rows are for (default model)",
    )
    parser.add_argument("--since", metavar="DAY", help="from this day on (default 30 days ago)")
    parser.add_argument("--until", metavar="DAY", help="up to this day (default today)")
    parser.add_argument("--session", metavar="ID", type=session_ids.SessionName, help="only this session's")
    parser.add_argument("--model", metavar="MODEL", help="only this model's, as provider:name")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the report."""
    report = _fetch(arguments)
    rows = [_dict(row) for row in report.rows]
    if arguments.json:
        total = {name: value for name, value in _dict(report.total).items() if name != "key"}
        budgets = [_dict(budget) for budget in report.budgets]
        tables.show_json({"rows": rows, "total": total, "currency": report.currency, "budgets": budgets})
        return
    if not rows:
        answers.note(f"oblix: {_nothing(arguments)}")
    columns = COLUMNS | {"key": arguments.by.upper(), "cost": f"COST ({report.currency})"}
    if sys.stdout.isatty() and not report.total.unpriced_executions:
        del columns["unpriced_executions"]
    tables.show_rows([row | {"cost": _cost(row)} for row in rows], columns)
    if sys.stdout.isatty():
        _show_sums(report)


def _fetch(arguments: argparse.Namespace) -> daemon_pb2.GetUsageResponse:
    from oblix._resources.usage import usage_request

    request = usage_request(
        arguments.by, arguments.since, arguments.until, arguments.session, arguments.model
    )
    return daemon.any_daemon().call(lambda link: link.daemon.GetUsage, request, repeatable=True)


def _dict(message: daemon_pb2.UsageRow | daemon_pb2.Budget) -> dict[str, Any]:
    return {field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields}


def amount(cost: float) -> str:
    """Format a cost with four digits after the point, a small one with two that are not 0."""
    if cost == 0 or abs(cost) >= SMALL:
        return f"{cost:.4f}"
    return f"{cost:.{min(NANO_DIGITS, 1 - math.floor(math.log10(abs(cost))))}f}"


def _cost(row: dict[str, Any]) -> str:
    """Return what a row cost: on a terminal in words where it cost nothing, or nobody knows."""
    if sys.stdout.isatty() and not row["cost"]:
        return "no price" if row["unpriced_executions"] else "free"
    return amount(row["cost"])


def _nothing(arguments: argparse.Namespace) -> str:
    """Say that there is no row, with what the report was asked for."""
    given = ((name, getattr(arguments, name)) for name in ("model", "session", "since", "until"))
    asked = " ".join(f"--{name} {value}" for name, value in given if value)
    return f"nothing was used{f' that fits {asked}' if asked else ' in the last 30 days'}."


def _show_sums(report: daemon_pb2.GetUsageResponse) -> None:
    count = tables.count_text(report.total.executions, "answer")
    unpriced = report.total.unpriced_executions
    rest = f", and {unpriced:,} without a known price" if unpriced else ""
    print(f"\nin all {count} for {amount(report.total.cost)} {report.currency}{rest}")
    for budget in report.budgets:
        spent = f"{amount(budget.spent)} of {budget.limit:g} {report.currency}"
        print(f"this {budget.period} {spent}; then {THEN[budget.action]}")
