"""Shows an answer as it arrives, and afterwards what gave it and why."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from oblix import Completed, Delta, Event, OblixError, Queued, Rerouted
from oblix.cli import output
from oblix.cli.errors import CommandError

Summary = Callable[[Completed], str]


async def show(
    events: AsyncGenerator[Event, None], *, text: bool = True, summary: Summary | None
) -> Completed:
    """Print the answer's text on standard output and a summary on standard error; return the end."""
    is_open = False
    try:
        async with aclosing(events):
            async for event in events:
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
    """A line for the model, why it was chosen, and the session, below an empty one."""
    lines = [("model", completed.response["model_id"]), ("why", _why(completed))]
    if completed.session_id:
        lines.append(("session", completed.session_id))
    if _ended_early(completed):
        lines.append(("ended", completed.finish_reason))
    return "\n" + "\n".join(f"{name:<8} {value}" for name, value in lines)


def in_short(completed: Completed) -> str:
    """The model and why it was chosen in one line, dim on a terminal."""
    ended = f" (ended: {completed.finish_reason})" if _ended_early(completed) else ""
    line = f"[{completed.response['model_id']}: {_why(completed)}{ended}]"
    return f"\x1b[2m{line}\x1b[0m" if sys.stderr.isatty() else line


def note(line: str) -> None:
    """Say something beside the answer."""
    print(line, file=sys.stderr, flush=True)


def _print(event: Event) -> None:
    match event:
        case Delta(text=piece, kind="text"):
            print(output.for_terminal(piece), end="", flush=True)
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


def _ended_early(completed: Completed) -> bool:
    return completed.finish_reason not in {"stop", ""}
