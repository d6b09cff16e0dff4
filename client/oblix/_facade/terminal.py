"""Answers and conversations at the terminal."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from oblix._convert.terminal_text import printable
from oblix._transport.streams import in_thread
from oblix.errors import OblixError, UnavailableError
from oblix.events import Completed, Delta, Event, Rerouted

Response = dict[str, Any]


class Printer:
    """Writes answers to standard output."""

    def __init__(self, *, live: bool, whole: bool, metrics: bool) -> None:
        """`live`: as it arrives. `whole`: once it is there. `metrics`: a line about it afterwards."""
        self._live = live
        self._whole = whole
        self._metrics = metrics

    async def response_of(self, events: AsyncGenerator[Event, None]) -> Response:
        """Write what happens, and return the response at the end."""
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Completed):
                    self._end(event.response)
                    return event.response
                if self._live:
                    _write(_live_text(event))
        raise UnavailableError("The answer broke off without an end.", reason="ANSWER_INTERRUPTED")

    def _end(self, response: Response) -> None:
        if self._whole:
            _write(response["response"])
        if self._whole or self._live:
            _write("\n")
        if self._metrics:
            _write(f"{_summary(response)}\n")


async def converse(ask: Callable[[str], Awaitable[Response]]) -> Response | None:
    """Ask what the person types, until `exit` or the end of the input. Returns the last response.

    An answer that fails is told, and the conversation goes on.
    """
    response = None
    while (said := await in_thread(_read_line)) is not None:
        if not said:
            continue
        try:
            response = await ask(said)
        except OblixError as error:
            _write(f"{error.message}\n")
    return response


def _read_line() -> str | None:
    try:
        said = input("\nYou: ").strip()
    except EOFError:
        return None
    return None if said.lower() == "exit" else said


def _live_text(event: Event) -> str:
    match event:
        case Delta(kind="text", text=piece):
            return piece
        case Rerouted(to_model=model, detail=detail):
            return f"\n[{detail} The answer starts anew on {model}.]\n"
    return ""


def _summary(response: Response) -> str:
    metrics = response["metrics"]
    facts = [response["model_id"]]
    if metrics["time_to_first_token"] is not None:
        facts.append(f"first token after {metrics['time_to_first_token']:.2f} s")
    if metrics["output_tokens"] is not None:
        facts.append(f"{metrics['output_tokens']} tokens")
    if metrics["tokens_per_second"] is not None:
        facts.append(f"{metrics['tokens_per_second']:.1f} tokens/s")
    facts.append(f"{metrics['latency']:.2f} s in all")
    if metrics["omitted_messages"]:
        facts.append(f"{metrics['omitted_messages']} older messages did not fit")
    if metrics["excluded_messages"]:
        facts.append(f"{metrics['excluded_messages']} marked messages were left out")
    return f"[{', '.join(facts)}]"


def _write(text: str) -> None:
    """Write at once. What the terminal's encoding has no sign for becomes a question mark."""
    encoding, text = sys.stdout.encoding or "utf-8", printable(text)
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()
