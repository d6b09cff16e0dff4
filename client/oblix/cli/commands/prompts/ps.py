"""`oblix ps`: the answers that wait, run, or ended lately."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import Any

from oblix.cli import daemon
from oblix.cli.options import execution_ids, session_ids
from oblix.cli.output import tables

ON_SCREEN = {
    "id": "ID",
    "state": "STATE",
    "model": "MODEL",
    "age": "AGE",
    "client": "PROGRAM",
    "title": "PROMPT",
}
IN_PIPES = {**ON_SCREEN, "session_id": "SESSION", "priority": "PRIORITY"}
MOST_ENDED = 20
MODEL_CHARACTERS, CLIENT_CHARACTERS = 20, 14
"""So much leaves a line of 80 characters some room for the prompt."""

Executions = list[dict[str, Any]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = (
        "What runs or waits comes first, the oldest before the others, then what ended, the newest first. "
        "The age of what runs or waits is that of the request, of what ended that of its end. On a terminal "
        "ids are cut: `attach` and `cancel` take them so. In a pipe they are whole, and all are there. "
        "Starts no daemon: where none runs, it says so and exits with 1."
    )
    parser.add_argument(
        "--session", metavar="ID", type=session_ids.SessionName, help="only those of this session"
    )
    parser.add_argument(
        "--all", action="store_true", help=f"all that ended lately, not only the last {MOST_ENDED}"
    )
    parser.add_argument("--json", action="store_true", help="print them as JSON, the oldest first")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print what the daemon works on."""
    executions = _fetch(arguments.session)
    if arguments.json:
        tables.show_json(executions)
        return
    is_screen = sys.stdout.isatty()
    shown, left_out = latest(executions, MOST_ENDED if is_screen and not arguments.all else None)
    if not is_screen:
        tables.show_rows([_row(execution) for execution in shown], IN_PIPES)
        return
    short = execution_ids.short([execution["request_id"] for execution in executions])
    tables.show_rows([_short_row(one, short[one["request_id"]]) for one in shown], ON_SCREEN)
    if left_out:
        print(f"\n{left_out} more ended in the last ten minutes: --all shows them.")


def _fetch(session_id: str | None) -> Executions:
    from oblix._convert.events import execution_of
    from oblix.v1 import executions_pb2

    request = executions_pb2.ListExecutionsRequest(session_id=session_id or "")
    way = daemon.running_daemon()
    listed = way.call(lambda link: link.executions.ListExecutions, request, repeatable=True)
    return [execution_of(execution).to_dict() for execution in listed.executions]


def latest(executions: Executions, most_ended: int | None) -> tuple[Executions, int]:
    """Return what runs or waits, then what ended, the newest first, and how many of these are left out."""
    live = [execution for execution in executions if not execution["ended_at"]]
    ended = [execution for execution in executions if execution["ended_at"]]
    ended.sort(key=lambda execution: datetime.fromisoformat(execution["ended_at"]), reverse=True)
    shown = ended[:most_ended]
    return live + shown, len(ended) - len(shown)


def _row(execution: dict[str, Any]) -> dict[str, object]:
    return {
        "id": execution["request_id"],
        "state": _state(execution),
        "model": execution["model_id"] or "-",
        "age": tables.duration(_age_s(execution)),
        "client": execution["client"] or "-",
        "title": execution["prompt_excerpt"],
        "session_id": execution["session_id"] or "-",
        "priority": execution["priority"],
    }


def _short_row(execution: dict[str, Any], short_id: str) -> dict[str, object]:
    row = _row(execution)
    return row | {
        "id": short_id,
        "state": _short_state(execution),
        "model": tables.cut(execution["model_id"] or execution["waits_for"] or "-", MODEL_CHARACTERS),
        "age": tables.duration(_age_s(execution), units=1),
        "client": tables.cut(execution["client"] or "-", CLIENT_CHARACTERS),
    }


def _state(execution: dict[str, Any]) -> str:
    """Say where it is in its life, with its position and what it waits for, or why it failed."""
    if execution["place"]:
        return f"waits for {execution['waits_for'] or 'its session'}, place {execution['place']}"
    reason = execution["error_reason"]
    return f"{execution['state']}: {reason}" if reason else str(execution["state"])


def _short_state(execution: dict[str, Any]) -> str:
    if execution["place"]:
        return f"waits {execution['place']}"
    return "done" if execution["state"] == "completed" else str(execution["state"])


def _age_s(execution: dict[str, Any]) -> float:
    moment = execution["ended_at"] or execution["created_at"]
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
