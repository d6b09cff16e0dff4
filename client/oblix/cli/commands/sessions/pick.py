"""`oblix sessions pick`: a list of sessions that gets shorter with each letter."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import oblix
from oblix._convert.terminal_text import raw_stream
from oblix.cli.errors import CommandError
from oblix.cli.output import tables

if TYPE_CHECKING:
    from prompt_toolkit.formatted_text import StyleAndTextTuples

MOST_SESSIONS, SHOWN_LINES = 2_000, 15
EXAMPLES = """examples:
  oblix chat --session "$(oblix sessions pick)"
  oblix sessions view "$(oblix sessions pick heat)"

Type letters of the title, in their order; Up and Down choose, Enter prints the id, Ctrl-C leaves."""


def configure(actions: Any) -> None:
    """Declare the subcommand."""
    help_ = "choose a session from a list, and print its id"
    pick = actions.add_parser("pick", help=help_, epilog=EXAMPLES)
    pick.add_argument("letters", nargs="?", default="", metavar="LETTERS", help="the letters to begin with")
    pick.set_defaults(run=_pick)


def _pick(arguments: argparse.Namespace) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandError("a list to choose from needs a terminal. `oblix sessions list` prints one.")
    sessions = oblix.OblixClient().list_sessions(limit=MOST_SESSIONS)
    if not sessions:
        raise CommandError("there is no session yet: `oblix ask` or `oblix chat` begins one.")
    chosen = _List(sessions, arguments.letters).run()
    if chosen is None:
        raise KeyboardInterrupt
    print(chosen)


def matches(sessions: Sequence[dict[str, Any]], letters: str) -> list[dict[str, Any]]:
    """Return the sessions whose title or id has the letters in this order, the closest together first."""
    wanted = [letter for letter in letters.casefold() if not letter.isspace()]
    found = []
    for place, session in enumerate(sessions):
        span = _span(f"{session['title']} {session['id']}".casefold(), wanted)
        if span is not None:
            found.append((span, place, session))
    return [session for _, _, session in sorted(found, key=lambda one: one[:2])]


def _span(text: str, letters: Sequence[str]) -> int | None:
    """Return how far the letters are apart; None where they are not all there in this order."""
    if not letters:
        return 0
    first = at = text.find(letters[0])
    for letter in letters[1:]:
        at = text.find(letter, at + 1) if at >= 0 else -1
    return at - first if at >= 0 else None


class _List:
    """The list on the screen. It is drawn on standard error: standard output is for the id."""

    def __init__(self, sessions: Sequence[dict[str, Any]], letters: str) -> None:
        self._sessions = sessions
        self._letters = letters
        self._at = 0

    def run(self) -> str | None:
        """Show it until one is chosen. Returns its id, None where nobody chose."""
        from prompt_toolkit.application import Application
        from prompt_toolkit.layout import HSplit, Layout, Window
        from prompt_toolkit.layout.controls import BufferControl, FormattedTextControl
        from prompt_toolkit.layout.processors import BeforeInput
        from prompt_toolkit.output import create_output

        buffer = self._buffer()
        line = Window(BufferControl(buffer, [BeforeInput("session: ")]), height=1)
        rows = Window(FormattedTextControl(self._lines), height=SHOWN_LINES)
        application: Application[str | None] = Application(
            layout=Layout(HSplit([line, rows])),
            key_bindings=self._bindings(),
            output=create_output(stdout=raw_stream(sys.stderr)),
            erase_when_done=True,
        )
        return application.run()

    def _buffer(self) -> Any:
        from prompt_toolkit.buffer import Buffer
        from prompt_toolkit.document import Document

        def changed(buffer: Any) -> None:
            self._letters, self._at = buffer.text, 0

        return Buffer(document=Document(self._letters), on_text_changed=changed, multiline=False)

    def _bindings(self) -> Any:
        from prompt_toolkit.key_binding import KeyBindings

        bindings = KeyBindings()

        @bindings.add("up")
        @bindings.add("down")
        def _(event: Any) -> None:
            step = -1 if event.key_sequence[0].key == "up" else 1
            count = min(len(matches(self._sessions, self._letters)), SHOWN_LINES)
            self._at = min(max(self._at + step, 0), max(count - 1, 0))

        @bindings.add("enter")
        def _(event: Any) -> None:
            found = matches(self._sessions, self._letters)
            if found:
                event.app.exit(found[self._at]["id"])

        @bindings.add("c-c")
        @bindings.add("escape", eager=True)
        def _(event: Any) -> None:
            event.app.exit(None)

        return bindings

    def _lines(self) -> StyleAndTextTuples:
        lines: StyleAndTextTuples = []
        for place, session in enumerate(matches(self._sessions, self._letters)[:SHOWN_LINES]):
            mark, style = ("> ", "reverse") if place == self._at else ("  ", "")
            time = tables.local_time(session["updated_at"])
            lines.append((style, f"{mark}{time}  {tables.cell(session['title']) or '(no title)'}\n"))
        return lines or [("", "  (no session has these letters)")]
