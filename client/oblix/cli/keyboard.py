"""The keyboard of a terminal: keys that wait, unseen, for whoever reads next, and questions to a person."""

from __future__ import annotations

import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from oblix._convert.terminal_text import has_styles, raw_stream

_INPUT_FLAGS, _LOCAL_FLAGS, _CHARACTERS = 0, 3, 6
"""Places in what `termios.tcgetattr` returns."""
_BRACKETS_ON, _BRACKETS_OFF = "\x1b[?2004h", "\x1b[?2004l"
"""Has a terminal mark the beginning and the end of a paste."""


class Keyboard:
    """Keeps what is typed while nobody reads: it is not echoed, and stays for the next reader.

    Without a terminal it does nothing.
    """

    def __init__(self) -> None:
        self._usual: list[Any] | None = None
        """The terminal's modes before it was held. None: it is not held."""

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Show no key that is pressed within the block. Ctrl-C still interrupts, and drops nothing."""
        if not sys.stdin.isatty():
            yield
            return
        self._usual = termios.tcgetattr(sys.stdin)
        with ExitStack() as stack:
            stack.callback(self._release)
            # A shell gives a job that goes on the modes of its own.
            usual = signal.signal(signal.SIGCONT, lambda *_: self._apply())
            stack.callback(signal.signal, signal.SIGCONT, usual)
            self._apply()
            yield

    def mark_pastes(self) -> None:
        """Have a paste come in one piece, also where nobody reads yet.

        A line editor ends this with each line.
        """
        if self._usual is not None and has_styles():
            _write(_BRACKETS_ON)

    def question(self, text: str) -> str:
        """Ask a person on standard error, and return the line that is typed then, in lower case.

        What was typed before counts for nothing: it was no answer to this. Raises KeyboardInterrupt.
        """
        if sys.stdin.isatty():
            termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, self._usual or termios.tcgetattr(sys.stdin))
        line = ""
        # An event loop would only note Ctrl-C, and the line would still be waited for.
        usual = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            print(text, end="", file=sys.stderr, flush=True)
            line = sys.stdin.readline()
            return line.strip().lower()
        finally:
            signal.signal(signal.SIGINT, usual)
            if not line.endswith("\n"):  # Ctrl-C or Ctrl-D: what comes next begins a line
                print(file=sys.stderr, flush=True)
            if self._usual is not None:
                self._apply()

    def _apply(self) -> None:
        modes = termios.tcgetattr(sys.stdin)
        modes[_INPUT_FLAGS] &= ~termios.ICRNL
        modes[_LOCAL_FLAGS] &= ~(termios.ECHO | termios.ICANON)
        modes[_LOCAL_FLAGS] |= termios.ISIG | termios.NOFLSH
        modes[_CHARACTERS][termios.VMIN], modes[_CHARACTERS][termios.VTIME] = 1, 0
        termios.tcsetattr(sys.stdin, termios.TCSANOW, modes)

    def _release(self) -> None:
        usual, self._usual = self._usual, None
        if usual is not None:
            if has_styles():
                _write(_BRACKETS_OFF)
            with suppress(termios.error):  # the terminal has gone
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, usual)


keyboard = Keyboard()
"""That of this process."""


def _write(sequence: str) -> None:
    with suppress(OSError):
        out = raw_stream(sys.stdout)
        out.write(sequence)
        out.flush()
