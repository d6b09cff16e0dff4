"""The lists: models, running executions, and where prompts went."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table

from oblix._convert.records import seconds_of
from oblix.cli.commands.service.top.state import State
from oblix.cli.output.tables import cell, word
from oblix.v1 import executions_pb2, models_pb2, monitor_pb2, routing_pb2

ENDED = (
    executions_pb2.EXECUTION_STATE_COMPLETED,
    executions_pb2.EXECUTION_STATE_FAILED,
    executions_pb2.EXECUTION_STATE_CANCELLED,
)


@dataclass(frozen=True, slots=True)
class Section:
    """A list with a heading. The last column takes the room that the others leave."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    nothing: str
    """What stands there where there are no rows."""

    def draw(self, most: int) -> Table:
        """Draw the heading after a blank line and at most so many rows; the last counts the rest."""
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0), expand=True)
        for number, name in enumerate(self.columns):
            is_last = number == len(self.columns) - 1
            table.add_column(f"\n{name}", no_wrap=True, overflow="ellipsis", ratio=1 if is_last else None)
        fits = len(self.rows) <= most
        for row in self.rows if fits else self.rows[: most - 1]:
            table.add_row(*map(cell, row))
        if not fits:
            table.add_row(f"and {len(self.rows) - most + 1} more")
        elif not self.rows:
            table.add_row(*["-"] * (len(self.columns) - 1), self.nothing)
        return table


def models(state: State) -> Section:
    """Return what each can do now, how many wait for it, and how fast it was lately."""
    columns = ("MODEL", "STATE", "RUNS", "BUSY", "QUEUE", "SPEED", "NOTE")
    rows = [_model(model, state.moment_s) for model in state.models]
    return Section(columns, rows, "none is configured")


def executions(state: State, ended_count: int = 0) -> Section:
    """List those that wait or run, the oldest first; then so many that ended, the last one first."""
    columns = ("EXECUTION", "MODEL", "AGE", "WRITTEN", "PROMPT")
    live = sorted(
        (one for one in state.executions if one.state not in ENDED),
        key=lambda one: one.create_time.ToNanoseconds(),
    )
    over = sorted(
        (one for one in state.executions if one.state in ENDED),
        key=lambda one: one.end_time.ToNanoseconds(),
        reverse=True,
    )
    shown = [*live, *over[:ended_count]]
    return Section(columns, [_execution(one, state.moment_s) for one in shown], "nothing runs")


def decisions(state: State) -> Section:
    """Return the newest first."""
    columns = ("DECIDED", "MODEL", "RUNS", "FIRST TOKEN", "RULE")
    newest = reversed(state.prompts.values())
    return Section(columns, [_decision(prompt) for prompt in newest], "no prompt in the last fifteen minutes")


def _model(model: models_pb2.Model, now_s: float) -> Sequence[str]:
    state = word(models_pb2.ModelState.Name(model.state), "MODEL_STATE_")
    if model.HasField("cooldown_until"):
        state = f"cools {max(0.0, _seconds(model.cooldown_until) - now_s):.0f} s"
    return (
        model.id,
        "not tried yet" if state == "unknown" else state,
        word(routing_pb2.Location.Name(model.location), "LOCATION_"),
        f"{model.running_count}/{model.max_running}" if model.max_running else f"{model.running_count}",
        f"{model.queued_count}",
        f"{model.tokens_per_second:.0f}/s" if model.tokens_per_second else "-",
        model.state_reason,
    )


def _execution(one: executions_pb2.Execution, now_s: float) -> Sequence[str]:
    state = word(executions_pb2.ExecutionState.Name(one.state), "EXECUTION_STATE_")
    return (
        f"{state} {one.place}" if one.place else state,
        one.model or one.waits_for_model or "-",
        f"{max(0.0, now_s - _seconds(one.create_time)):.0f} s",
        f"{one.delta_bytes} B",
        one.prompt_excerpt or one.session_id or one.request_id,
    )


def _decision(prompt: monitor_pb2.RoutedPrompt) -> Sequence[str]:
    took = "-"
    if prompt.HasField("time_to_first_token"):
        took = f"{1e3 * seconds_of(prompt.time_to_first_token):.0f} ms"
    is_elsewhere = prompt.answered_by and prompt.answered_by != prompt.model
    return (
        time.strftime("%H:%M:%S", time.localtime(_seconds(prompt.route_time))),
        prompt.answered_by or prompt.model,
        word(routing_pb2.Location.Name(prompt.location), "LOCATION_"),
        took,
        f"{prompt.rule}, fell back from {prompt.model}" if is_elsewhere else prompt.rule,
    )


def _seconds(time_: Timestamp) -> float:
    return time_.seconds + time_.nanos / 1e9
