"""`oblix ps`: the answers that wait, run, or ended lately."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from oblix.cli import daemon
from oblix.cli.options import execution_ids, session_ids
from oblix.cli.output import tables

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from oblix.v1 import executions_pb2

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

Executions: TypeAlias = "Sequence[executions_pb2.Execution]"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = (
        "Answers that run or wait come first, the oldest at the top, then those that ended, the newest at "
        "the top. The age is the time since the request, or since the end. On a terminal ids are short; "
        "`attach` and `cancel` accept them. In a pipe ids are complete, and no answer is left out. "
        "Starts no daemon: if none runs, it says so and exits with 1."
    )
    parser.add_argument(
        "--session", metavar="ID", type=session_ids.SessionName, help="only those of this session"
    )
    parser.add_argument(
        "--all", action="store_true", help=f"all answers that ended, not only the last {MOST_ENDED}"
    )
    parser.add_argument("--json", action="store_true", help="print them as JSON, the oldest first")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print what the daemon works on."""
    executions = _fetch(arguments.session)
    if arguments.json:
        from oblix._convert.events import execution_of

        tables.show_json([execution_of(execution).to_dict() for execution in executions])
        return
    is_screen = sys.stdout.isatty()
    if is_screen and not executions:
        print("oblix: nothing runs or waits, and nothing ended in the last ten minutes.", file=sys.stderr)
    shown, left_out = latest(executions, MOST_ENDED if is_screen and not arguments.all else None)
    if not is_screen:
        tables.show_rows([_row(execution) for execution in shown], IN_PIPES)
        return
    short = execution_ids.short([execution.request_id for execution in executions])
    tables.show_rows([_short_row(one, short[one.request_id]) for one in shown], ON_SCREEN)
    if left_out:
        print(f"\n{left_out} more ended in the last ten minutes: --all shows them.")


def _fetch(session_id: str | None) -> Executions:
    from oblix.v1 import executions_pb2

    request = executions_pb2.ListExecutionsRequest(session_id=session_id or "")
    way = daemon.running_daemon()
    return way.call(lambda link: link.executions.ListExecutions, request, repeatable=True).executions


def latest(executions: Executions, most_ended: int | None) -> tuple[Executions, int]:
    """Return what runs or waits, then what ended, the newest first, and how many of these are left out."""
    live = [execution for execution in executions if not execution.HasField("end_time")]
    ended = [execution for execution in executions if execution.HasField("end_time")]
    ended.sort(key=lambda execution: _seconds(execution.end_time), reverse=True)
    shown = ended[:most_ended]
    return live + shown, len(ended) - len(shown)


def _row(execution: executions_pb2.Execution) -> dict[str, object]:
    from oblix.v1 import executions_pb2

    is_background = execution.priority == executions_pb2.PRIORITY_BACKGROUND
    return {
        "id": execution.request_id,
        "state": _state(execution),
        "model": execution.model or "-",
        "age": tables.duration(_age_s(execution)),
        "client": execution.client or "-",
        "title": execution.prompt_excerpt,
        "session_id": execution.session_id or "-",
        "priority": "background" if is_background else "interactive",
    }


def _short_row(execution: executions_pb2.Execution, short_id: str) -> dict[str, object]:
    row = _row(execution)
    return row | {
        "id": short_id,
        "state": _short_state(execution),
        "model": tables.cut(execution.model or execution.waits_for_model or "-", MODEL_CHARACTERS),
        "age": tables.duration(_age_s(execution), units=1),
        "client": tables.cut(execution.client or "-", CLIENT_CHARACTERS),
    }


def _state(execution: executions_pb2.Execution) -> str:
    """Say where it is in its life, with its position and what it waits for, or why it failed."""
    if execution.place:
        return f"waits for {execution.waits_for_model or 'its session'}, place {execution.place}"
    state, reason = _state_name(execution), execution.error_reason
    return f"{state}: {reason}" if reason else state


def _short_state(execution: executions_pb2.Execution) -> str:
    if execution.place:
        return f"waits {execution.place}"
    state = _state_name(execution)
    return "done" if state == "completed" else state


def _state_name(execution: executions_pb2.Execution) -> str:
    from oblix.v1 import executions_pb2

    return tables.word(executions_pb2.ExecutionState.Name(execution.state), "EXECUTION_STATE_")


def _age_s(execution: executions_pb2.Execution) -> float:
    moment = execution.end_time if execution.HasField("end_time") else execution.create_time
    return time.time() - _seconds(moment)


def _seconds(moment: Timestamp) -> float:
    return moment.seconds + moment.nanos / 1e9
