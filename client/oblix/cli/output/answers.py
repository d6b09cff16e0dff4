"""Shows an answer as it arrives, and afterwards what gave it and why."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, TypeVar

from oblix._convert.terminal_text import DIM, PLAIN, YELLOW, has_styles, raw_stream
from oblix.cli.errors import CommandError
from oblix.cli.output import tables
from oblix.cli.output.events import Begun, Completion, Event, Piece, Restart, Waiting
from oblix.cli.output.screens import Screen, Silent

UNBEGUN = "cancelled before its turn came; nothing is recorded"

SPINNER_AFTER_S = 0.4
Summary = Callable[[Completion], str]
T = TypeVar("T")


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
            case Waiting(is_for_session=True):
                self._waits = True
            case Begun(session_id=session_id):
                self._session_id, self._waits = session_id, False
            case Piece():
                self.has_answer = True
            case Restart():
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
) -> Completion:
    """Show the answer's text and a summary of it on standard error; return the end.

    `screen`: where the text goes; None: nowhere. `recording` is told of every event.
    """
    shown = screen or Silent()
    is_open = False
    try:
        async with aclosing(events):
            with _spinner(screen) as spinner:
                async for event in events:
                    if recording:
                        recording.note(event)
                    if isinstance(event, Completion):
                        spinner.stop()
                        shown.end()
                        if summary:
                            note(summary(event))
                        return event
                    if _ends_waiting(event, shown):
                        spinner.stop()
                    is_open = is_open or isinstance(event, Piece)
                    _tell(event, shown)
    except BaseException:
        if is_open:
            shown.end()  # what went wrong is said on a line of its own
        raise
    raise CommandError("the answer broke off without an end. Ask again; `oblix status` shows the log.")


def _ends_waiting(event: Event, screen: Screen) -> bool:
    """Return whether there is something to read now. What is shown as a whole is there at its end."""
    return isinstance(event, Restart) or (isinstance(event, Piece) and not isinstance(screen, Silent))


def complete(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing but blocking calls: an event loop would only cost time."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    work.close()
    raise RuntimeError("this coroutine waits for an event loop")


class Spinner:
    """Moves on standard error until the first word is there, where a person waits longer than a moment."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None
        self._status: Any = None
        self._lock = threading.Lock()
        self._is_over = False

    def start(self) -> None:
        """Appear after a moment: what is quick shows none, and does not pay for it."""
        if sys.stderr.isatty() and has_styles():
            self._timer = threading.Timer(SPINNER_AFTER_S, self._appear)
            self._timer.daemon = True
            self._timer.start()

    def stop(self) -> None:
        """Be gone. Harmless when done twice."""
        if self._is_over:
            return
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._is_over = True
            if self._status is not None:
                self._status.stop()

    def _appear(self) -> None:
        # rich costs a tenth of a second.
        from rich.console import Console

        status = Console(file=raw_stream(sys.stderr)).status("waiting for the model")
        with self._lock:
            if not self._is_over:
                self._status = status
                status.start()


@contextmanager
def _spinner(screen: Screen | None) -> Iterator[Spinner]:
    spinner = Spinner()
    if screen is not None:
        spinner.start()
    try:
        yield spinner
    finally:
        spinner.stop()


def full_report(completion: Completion) -> str:
    """Return a line for the model, why it was chosen, and the session, below an empty one."""
    if not completion.model:
        return UNBEGUN
    lines = [("model", completion.model), ("why", completion.reason)]
    if completion.session_id:
        lines.append(("session", completion.session_id))
    if _ended_early(completion):
        lines.append(("ended", completion.finish_reason))
    if left_out := _exclusions_text(completion):
        lines.append(("left out", left_out))
    return "\n" + "\n".join(f"{name:<8} {value}" for name, value in lines)


def in_line(completion: Completion) -> str:
    """Return the model, where it runs, how long it took and what it wrote, in one line, dim on a terminal."""
    if not completion.model:
        return f"{DIM}{UNBEGUN}{PLAIN}"
    facts = [completion.model.partition(":")[2], completion.location, f"{completion.latency_s:.1f} s"]
    if completion.output_tokens is not None:
        facts.append(tables.count_text(completion.output_tokens, "token"))
    if _ended_early(completion):
        facts.append(f"ended: {completion.finish_reason}")
    if omitted := completion.omitted_messages:
        facts.append(f"{tables.count_text(omitted, 'older message')} did not fit")
    if left_out := _exclusions_text(completion):
        facts.append(f"left out {left_out}")
    style = YELLOW if completion.location == "cloud" else DIM
    return f"{style}{' · '.join(facts)}{PLAIN}"


def note(line: str) -> None:
    """Say something beside the answer."""
    print(tables.fit(line), file=sys.stderr, flush=True)


def _tell(event: Event, screen: Screen) -> None:
    match event:
        case Piece(text=piece, is_text=True):
            screen.write(piece)
        case Waiting(place=place):
            note(f"[waiting: {place} before this one]")
        case Restart(model=model, detail=detail):
            screen.end()
            note(f"[{detail} The answer starts anew on {model}.]")


def _exclusions_text(completion: Completion) -> str:
    """Return the marked messages that the context left out, with the reasons of the newest ones."""
    if not completion.excluded:
        return ""
    each = ", ".join(f"{sequence} ({reason})" for sequence, reason in completion.excluded[-3:])
    return f"message {each}; `oblix sessions include ID MESSAGE` sends it again"


def _ended_early(completion: Completion) -> bool:
    return completion.finish_reason not in {"stop", ""}
