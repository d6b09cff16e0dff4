"""Shows an answer as it arrives, and afterwards what gave it and why."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

from oblix import Completed, Delta, Event, Queued, Rerouted, Started
from oblix._convert.terminal_text import DIM, PLAIN, YELLOW, has_styles, raw_stream
from oblix.cli.errors import CommandError
from oblix.cli.output import tables
from oblix.cli.output.screens import Screen, Silent

UNBEGUN = "cancelled before its turn came; nothing is recorded"

SPINNER_AFTER_S = 0.4
Summary = Callable[[Completed], str]


class Recorded:
    """What a session holds of a prompt whose events are seen here, should it be cancelled now."""

    def __init__(self) -> None:
        self._session_id: str | None = None
        self._waits = False
        self.has_answer = False
        """Whether some of the answer has come."""

    def note(self, event: Event) -> None:
        """See one more event."""
        match event:
            case Queued(model=None):
                self._waits = True
            case Started(session_id=session_id):
                self._session_id, self._waits = session_id, False
            case Delta():
                self.has_answer = True
            case Rerouted():
                self.has_answer = False

    def cancelled_text(self, part: str = "what had come") -> str:
        """Say that it was cancelled, and what is kept. `part` names the answer's part."""
        if self._waits:
            return UNBEGUN
        if self._session_id is None:
            return "cancelled"
        kept = part if self.has_answer else "the question"
        return f"cancelled; {kept} is kept in session {self._session_id}"


async def show(
    events: AsyncGenerator[Event, None],
    *,
    screen: Screen | None = None,
    summary: Summary | None,
    recording: Recorded | None = None,
) -> Completed:
    """Show the answer's text and a summary of it on standard error; return the end.

    `screen`: where the text goes; None: nowhere. `recorded` is told of every event.
    """
    shown = screen or Silent()
    is_open = False
    try:
        async with aclosing(events), _spinner(screen) as spinner:
            async for event in events:
                if recording:
                    recording.note(event)
                if isinstance(event, Completed):
                    spinner.stop()
                    shown.end()
                    if summary:
                        note(summary(event))
                    return event
                if isinstance(event, Delta | Rerouted):
                    spinner.stop()
                is_open = is_open or isinstance(event, Delta)
                _tell(event, shown)
    except BaseException:
        if is_open:
            shown.end()  # what went wrong is said on a line of its own
        raise
    raise CommandError("the answer broke off without an end. Ask again; `oblix status` shows the log.")


class Spinner:
    """Moves on standard error until the first word is there, where a person waits longer than a moment."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._status: Any = None

    def start(self) -> None:
        """Appear after a moment: what is quick shows none, and does not pay for it."""
        if sys.stderr.isatty() and has_styles():
            self._timer = asyncio.get_running_loop().call_later(SPINNER_AFTER_S, self._appear)

    def stop(self) -> None:
        """Be gone. Harmless when done twice."""
        if self._timer is not None:
            self._timer.cancel()
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _appear(self) -> None:
        # rich costs a tenth of a second.
        from rich.console import Console

        self._status = Console(file=raw_stream(sys.stderr)).status("waiting for the model")
        self._status.start()


@asynccontextmanager
async def _spinner(screen: Screen | None) -> AsyncIterator[Spinner]:
    spinner = Spinner()
    if screen is not None:
        spinner.start()
    try:
        yield spinner
    finally:
        spinner.stop()


def full_report(completion: Completed) -> str:
    """Return a line for the model, why it was chosen, and the session, below an empty one."""
    if not completion.response["model_id"]:
        return UNBEGUN
    lines = [("model", completion.response["model_id"]), ("why", _why(completion))]
    if completion.session_id:
        lines.append(("session", completion.session_id))
    if _ended_early(completion):
        lines.append(("ended", completion.finish_reason))
    if left_out := _exclusions_text(completion):
        lines.append(("left out", left_out))
    return "\n" + "\n".join(f"{name:<8} {value}" for name, value in lines)


def in_line(completion: Completed) -> str:
    """Return the model, where it runs, how long it took and what it wrote, in one line, dim on a terminal."""
    model = str(completion.response["model_id"])
    if not model:
        return f"{DIM}{UNBEGUN}{PLAIN}"
    metrics = completion.response["metrics"]
    location = _location(completion.response, model)
    facts = [model.partition(":")[2], location, f"{metrics['latency']:.1f} s"]
    if metrics["output_tokens"] is not None:
        facts.append(tables.count_text(metrics["output_tokens"], "token"))
    if _ended_early(completion):
        facts.append(f"ended: {completion.finish_reason}")
    if omitted := metrics["omitted_messages"]:
        facts.append(f"{tables.count_text(omitted, 'older message')} did not fit")
    if left_out := _exclusions_text(completion):
        facts.append(f"left out {left_out}")
    style = YELLOW if location == "cloud" else DIM
    return f"{style}{' · '.join(facts)}{PLAIN}"


def _location(response: Mapping[str, Any], model: str) -> str:
    candidates = response["routing_decision"]["model_routing"]["candidates"]
    return next((one["location"] for one in candidates if one["model"] == model), "unknown place")


def note(line: str) -> None:
    """Say something beside the answer."""
    print(line, file=sys.stderr, flush=True)


def _tell(event: Event, screen: Screen) -> None:
    match event:
        case Delta(text=piece, kind="text"):
            screen.write(piece)
        case Queued(place=place):
            note(f"[waiting: {place} before this one]")
        case Rerouted(to_model=model, detail=detail):
            screen.end()
            note(f"[{detail} The answer starts anew on {model}.]")


def _why(completion: Completed) -> str:
    return str(completion.response["routing_decision"]["model_routing"]["reason"])


def _exclusions_text(completion: Completed) -> str:
    """Return the marked messages that the context left out, with the reasons of the newest ones."""
    metrics = completion.response["metrics"]
    if not metrics["excluded_messages"]:
        return ""
    each = ", ".join(f"{one['sequence']} ({one['reason']})" for one in metrics["excluded"][-3:])
    return f"message {each}; `oblix sessions include ID MESSAGE` sends it again"


def _ended_early(completion: Completed) -> bool:
    return completion.finish_reason not in {"stop", ""}
