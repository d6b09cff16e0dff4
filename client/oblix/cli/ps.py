"""`oblix ps`: the answers that wait, run, or ended lately."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from oblix._executions import executions_of
from oblix.cli import daemon, output

COLUMNS = {
    "id": "ID",
    "state": "STATE",
    "model": "MODEL",
    "age": "AGE",
    "client": "CLIENT",
    "title": "PROMPT",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = (
        "The age of what runs or waits is that of the request, of what ended that of its end. "
        "Starts no daemon: where none runs, it says so and exits with 1."
    )
    parser.add_argument("--session", metavar="ID", help="only those of this session")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print what the daemon works on, the oldest first."""
    executions = executions_of(daemon.running(), arguments.session)
    if arguments.json:
        output.show_json(executions)
        return
    output.show_rows([_row(execution) for execution in executions], COLUMNS)


def _row(execution: dict[str, Any]) -> dict[str, object]:
    return {
        "id": execution["request_id"],
        "state": _state(execution),
        "model": execution["model_id"] or "-",
        "age": output.duration(_seconds_since(execution["ended_at"] or execution["created_at"])),
        "client": execution["client"] or "-",
        "title": execution["prompt_excerpt"],
    }


def _state(execution: dict[str, Any]) -> str:
    """Where it is in its life, with its place and what it waits for, or why it failed."""
    if execution["place"]:
        return f"waits for {execution['waits_for'] or 'its session'}, place {execution['place']}"
    reason = execution["error_reason"]
    return f"{execution['state']}: {reason}" if reason else str(execution["state"])


def _seconds_since(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
