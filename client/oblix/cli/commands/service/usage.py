"""`oblix usage`: what was used, and what it cost."""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any

import oblix
from oblix.cli.options import session_ids
from oblix.cli.output import answers, tables

ABOUT = """Costs go by the prices in the [usage] section of the daemon's configuration; models on this machine
are free where it has none for them. What else has no price, or whose server counted no tokens, is counted
under UNPRICED and not under COST."""
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
    report = oblix.OblixClient().usage(
        arguments.by,
        arguments.since,
        arguments.until,
        session_id=arguments.session,
        model=arguments.model,
    )
    if arguments.json:
        tables.show_json(
            {
                "rows": report.rows,
                "total": report.total,
                "currency": report.currency,
                "budgets": report.budgets,
            }
        )
        return
    if not report.rows:
        answers.note(f"oblix: {_nothing(arguments)}")
    rows = [row | {"cost": _cost(row)} for row in report.rows]
    columns = COLUMNS | {"key": arguments.by.upper(), "cost": f"COST ({report.currency})"}
    if sys.stdout.isatty() and not report.total["unpriced_executions"]:
        del columns["unpriced_executions"]
    tables.show_rows(rows, columns)
    if sys.stdout.isatty():
        _show_sums(report)


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


def _show_sums(report: oblix.UsageReport) -> None:
    total = report.total
    count = tables.count_text(total["executions"], "answer")
    print(f"\nin all {count} for {amount(total['cost'])} {report.currency}")
    for budget in report.budgets:
        spent = f"{amount(budget['spent'])} of {budget['limit']:g} {report.currency}"
        print(f"this {budget['period']} {spent}; then {THEN[budget['action']]}")
