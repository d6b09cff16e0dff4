"""Shows an answer as it arrives, and afterwards what gave it and why."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from oblix import Completed, Delta, Event, OblixError, Queued, Rerouted, Started
from oblix._convert.terminal_text import DIM, PLAIN
from oblix.cli.errors import CommandError

UNBEGUN = "cancelled before its turn came; nothing is recorded"

Summary = Callable[[Completed], str]


class Recorded:
    """What a session holds of a prompt whose events are seen here, should it be cancelled now."""

    def __init__(self) -> None:
        self._session_id: str | None = None
        self._waits = self._has_come = False

    def note(self, event: Event) -> None:
        """See one more event."""
        match event:
            case Queued(model=None):
                self._waits = True
            case Started(session_id=session_id):
                self._session_id, self._waits = session_id, False
            case Delta():
                self._has_come = True
            case Rerouted():
                self._has_come = False

    def cancelled(self, part: str = "what had come") -> str:
        """That it was cancelled, and what is kept where it is recorded. `part` names the answer's part."""
        if self._waits:
            return UNBEGUN
        if self._session_id is None:
            return "cancelled"
        kept = part if self._has_come else "the question"
        return f"cancelled; {kept} is kept in session {self._session_id}"


async def show(
    events: AsyncGenerator[Event, None],
    *,
    text: bool = True,
    summary: Summary | None,
    recorded: Recorded | None = None,
) -> Completed:
    """Print the answer's text on standard output and a summary on standard error; return the end.

    `recorded` is told of every event.
    """
    is_open = False
    try:
        async with aclosing(events):
            async for event in events:
                if recorded:
                    recorded.note(event)
                if isinstance(event, Completed):
                    _finish(event, text, summary)
                    return event
                if text:
                    _print(event)
                    is_open = is_open or isinstance(event, Delta)
    except OblixError:
        if is_open:
            print(flush=True)  # what went wrong is said on a line of its own
        raise
    raise CommandError("the answer broke off without an end. Ask again; `oblix status` shows the log.")


def in_full(completed: Completed) -> str:
    """Return a line for the model, why it was chosen, and the session, below an empty one."""
    if not completed.response["model_id"]:
        return UNBEGUN
    lines = [("model", completed.response["model_id"]), ("why", _why(completed))]
    if completed.session_id:
        lines.append(("session", completed.session_id))
    if _ended_early(completed):
        lines.append(("ended", completed.finish_reason))
    if left_out := _left_out(completed):
        lines.append(("left out", left_out))
    return "\n" + "\n".join(f"{name:<8} {value}" for name, value in lines)


def in_short(completed: Completed) -> str:
    """Return the model and why it was chosen in one line, dim on a terminal."""
    ended = f" (ended: {completed.finish_reason})" if _ended_early(completed) else ""
    model = completed.response["model_id"]
    line = f"[{model}: {_why(completed)}{ended}]" if model else f"[{UNBEGUN}]"
    return f"{DIM}{line}{PLAIN}"


def note(line: str) -> None:
    """Say something beside the answer."""
    print(line, file=sys.stderr, flush=True)


def _print(event: Event) -> None:
    match event:
        case Delta(text=piece, kind="text"):
            print(piece, end="", flush=True)
        case Queued(place=place):
            note(f"[waiting: {place} before this one]")
        case Rerouted(to_model=model, detail=detail):
            note(f"\n[{detail} The answer starts anew on {model}.]")


def _finish(completed: Completed, text: bool, summary: Summary | None) -> None:
    if text:
        print(flush=True)
    if summary:
        note(summary(completed))


def _why(completed: Completed) -> str:
    return str(completed.response["routing_decision"]["model_routing"]["reason"])


def _left_out(completed: Completed) -> str:
    """Return the marked messages that the context left out, with the reasons of the newest ones."""
    metrics = completed.response["metrics"]
    if not metrics["excluded_messages"]:
        return ""
    each = ", ".join(f"{one['sequence']} ({one['reason']})" for one in metrics["excluded"][-3:])
    return f"message {each}; `oblix sessions include ID MESSAGE` sends it again"


def _ended_early(completed: Completed) -> bool:
    return completed.finish_reason not in {"stop", ""}
