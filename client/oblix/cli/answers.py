"""Shows an answer as it arrives, and afterwards what gave it and why."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing

from oblix import Completed, Delta, Event, Queued, Rerouted
from oblix.cli import output
from oblix.cli.errors import CommandError


async def show(events: AsyncGenerator[Event, None], *, text: bool = True, summary: bool = True) -> Completed:
    """Print the answer's text on standard output and a summary on standard error; return the end."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Completed):
                _finish(event, text, summary)
                return event
            if text:
                _print(event)
    raise CommandError("the answer broke off without an end. Ask again; `oblix status` shows the log.")


def _print(event: Event) -> None:
    match event:
        case Delta(text=piece, kind="text"):
            print(output.for_terminal(piece), end="", flush=True)
        case Queued(place=place):
            _note(f"[waiting: {place} before this one]")
        case Rerouted(to_model=model, detail=detail):
            _note(f"\n[{detail} The answer starts anew on {model}.]")


def _finish(completed: Completed, text: bool, summary: bool) -> None:
    if text:
        print(flush=True)
    if summary:
        _note("\n" + "\n".join(f"{name:<8} {value}" for name, value in _summary(completed)))


def _summary(completed: Completed) -> list[tuple[str, str]]:
    response = completed.response
    routing = response["routing_decision"]["model_routing"]
    lines = [("model", response["model_id"]), ("why", routing["reason"])]
    if completed.session_id:
        lines.append(("session", completed.session_id))
    if completed.finish_reason not in {"stop", ""}:
        lines.append(("ended", completed.finish_reason))
    return lines


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
