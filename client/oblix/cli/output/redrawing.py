"""Lines at the end of what a terminal shows, drawn again as they change.

`rich.live` counts the lines that it drew. A terminal that is made narrower breaks each of them into several,
and what it then removes is too little: the first lines stay, and stand there twice.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.segment import Segment, Segments

PAUSE_S = 1 / 12
"""Between two drawings."""
Lines = Sequence[Sequence[Segment]]


def reflows(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether the terminal breaks lines anew when its width changes, as nearly all do.

    xterm, GNU screen and the Linux console cut them off instead.
    """
    is_screen = "STY" in environ and "TMUX" not in environ
    return not (is_screen or "XTERM_VERSION" in environ or environ.get("TERM") == "linux")


class Redrawn:
    """Draws what a function returns, at most so often, and removes it."""

    def __init__(self, console: Console, lines: Callable[[], Lines]) -> None:
        """`lines` is called from any thread, and returns what is to be shown."""
        self._console = console
        self._lines = lines
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._next_s = 0.0
        self._widths: list[int] = []
        """The width of each line that stands there, in cells."""
        self._reflows = reflows()
        self.is_shown = False
        """Whether something stands there."""

    def update(self) -> None:
        """Draw anew, now or in a moment."""
        with self._lock:
            self.is_shown = True
            wait_s = self._next_s - time.monotonic()
            if self._timer is not None:
                return
            if wait_s <= 0:
                self._draw()
            else:
                self._timer = threading.Timer(wait_s, self._draw_late)
                self._timer.daemon = True
                self._timer.start()

    def erase(self) -> None:
        """Remove it. The cursor is where the first line began."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._write(self._removal())
            self._console.show_cursor()
            self._widths, self.is_shown = [], False

    def _draw_late(self) -> None:
        with self._lock:
            # Removed in the meantime: nothing is to be drawn.
            if self._timer is not None:
                self._timer = None
                self._draw()

    def _draw(self) -> None:
        lines = [_without_blanks(line) for line in self._lines()]
        parts = [part for line in lines for part in (*line, Segment.line())]
        with self._console.capture() as drawn:
            self._console.print(Segments(parts[:-1]), end="")
        if not self._widths:
            self._console.show_cursor(False)
        self._write(self._removal() + drawn.get())
        self._widths = [Segment.get_line_length(line) for line in lines]
        self._next_s = time.monotonic() + PAUSE_S

    def _removal(self) -> str:
        """Return what takes the cursor to where the first line begins, and clears all from there on."""
        if not self._widths:
            return ""
        width = self._console.width if self._reflows else max(self._widths)
        rows = sum(max(1, -(-each // max(width, 1))) for each in self._widths)
        # Row by row: tmux keeps in its history what is cleared from the screen's first row on at once.
        return "\r\x1b[2K" + "\x1b[1A\x1b[2K" * (rows - 1)

    def _write(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()


def _without_blanks(line: Sequence[Segment]) -> list[Segment]:
    """Return a line without the spaces at its end: they would be rows, too, where a terminal breaks lines."""
    parts = list(line)
    while parts and not parts[-1].text.rstrip():
        parts.pop()
    if parts:
        text, style, _ = parts[-1]
        parts[-1] = Segment(text.rstrip(), style)
    return parts
