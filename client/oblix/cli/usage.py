"""`oblix usage`: what was used, and what it cost."""

from __future__ import annotations

import argparse
import sys

from oblix import OblixClient
from oblix.cli import output
from oblix.reports import UsageReport

ABOUT = """Costs go by the prices in the [usage] section of the daemon's configuration. What has no price
there, or whose server counted no tokens, is counted under UNPRICED and not under COST."""
COLUMNS = {
    "key": "",
    "executions": "ANSWERS",
    "input_tokens": "INPUT TOKENS",
    "output_tokens": "OUTPUT TOKENS",
    "cost": "COST",
    "unpriced_executions": "UNPRICED",
}
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
    parser.add_argument("--session", metavar="ID", help="only this session's")
    parser.add_argument("--model", metavar="MODEL", help="only this model's, as provider:name")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the report."""
    report = OblixClient().usage(
        arguments.by,
        arguments.since,
        arguments.until,
        session_id=arguments.session,
        model=arguments.model,
    )
    if arguments.json:
        output.show_json(
            {
                "rows": report.rows,
                "total": report.total,
                "currency": report.currency,
                "budgets": report.budgets,
            }
        )
        return
    rows = [row | {"cost": f"{row['cost']:.4f}"} for row in report.rows]
    output.show_rows(rows, COLUMNS | {"key": arguments.by.upper(), "cost": f"COST ({report.currency})"})
    if sys.stdout.isatty():
        _show_sums(report)


def _show_sums(report: UsageReport) -> None:
    total = report.total
    print(f"\nin all {total['executions']:,} answers for {total['cost']:.4f} {report.currency}")
    for budget in report.budgets:
        spent = f"{budget['spent']:.4f} of {budget['limit']:g} {report.currency}"
        print(f"this {budget['period']} {spent}; then {THEN[budget['action']]}")
