"""Where an answer's text goes while it arrives: as it is, wrapped at words, or rendered as Markdown."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from oblix._convert.terminal_text import has_styles, printable, raw_stream

if TYPE_CHECKING:
    from rich.segment import Segment

NARROWEST = 20
_FENCES = ("```", "~~~")


class Screen(Protocol):
    """Takes an answer piece by piece."""

    def write(self, piece: str) -> None:
        """Show one more piece."""

    def end(self) -> None:
        """Finish: what comes next begins a line. Harmless when done twice, and more may follow."""


class Silent:
    """Shows nothing."""

    def write(self, piece: str) -> None:
        """Drop it."""

    def end(self) -> None:
        """Do nothing."""


class Text:
    """Writes an answer as it is. On a terminal lines break between words, except in code."""

    def __init__(self) -> None:
        self._wraps = sys.stdout.isatty()
        self._word = self._line = ""
        self._column = 0
        self._is_code = self._has_text = False

    def write(self, piece: str) -> None:
        self._has_text = True
        if not self._wraps:
            print(piece, end="", flush=True)
            return
        for letter in piece:
            self._take(letter)
        sys.stdout.flush()

    def end(self) -> None:
        self._flush_word()
        if self._has_text:
            print(flush=True)
        self._has_text, self._column, self._line = False, 0, ""

    def _take(self, letter: str) -> None:
        if letter == "\n":
            self._flush_word()
            if self._line.lstrip().startswith(_FENCES):
                self._is_code = not self._is_code
            sys.stdout.write("\n")
            self._column, self._line = 0, ""
            return
        self._line += letter
        if letter == " " or self._is_code:
            self._flush_word()
            # A space behind a full line would begin the next one: the terminal breaks the line there itself.
            if self._is_code or self._column < _columns():
                self._put(letter)
        else:
            self._word += letter

    def _flush_word(self) -> None:
        word, self._word = self._word, ""
        if not word:
            return
        width = _columns()
        if self._column and self._column + _cells(word) > width and not self._is_code:
            sys.stdout.write("\n")
            self._column = 0
        self._put(word)

    def _put(self, text: str) -> None:
        sys.stdout.write(text)
        self._column += _cells(text)


class Markdown:
    """Renders Markdown while it arrives: blocks that are whole are printed, the last one is drawn again."""

    def __init__(self) -> None:
        # rich costs a tenth of a second: only who looks pays for it.
        from markdown_it import MarkdownIt
        from rich.console import Console

        from oblix.cli.output.redrawing import Redrawn

        self._parser = MarkdownIt()
        self._console = Console(file=raw_stream(sys.stdout))
        self._drawn = Redrawn(self._console, self._last_lines)
        self._tail = ""
        self._is_first = True

    def write(self, piece: str) -> None:
        self._tail += printable(piece)
        if "\n" in piece:
            self._print_whole_blocks()
        if self._tail.strip():
            self._draw()

    def end(self) -> None:
        self._erase()
        if self._tail.strip():
            self._print(self._tail)
        self._tail, self._is_first = "", True

    def _print_whole_blocks(self) -> None:
        """Print every block but the last: what follows can still change that one."""
        starts = [token.map[0] for token in self._parser.parse(self._tail) if token.level == 0 and token.map]
        starts = sorted(set(starts))
        if len(starts) > 1:
            lines = self._tail.splitlines(keepends=True)
            self._erase()
            for start, end in pairwise(starts):
                self._print("".join(lines[start:end]))
            self._tail = "".join(lines[starts[-1] :])

    def _print(self, block: str) -> None:
        if not self._is_first:
            self._console.print()
        from rich.segment import Segment, Segments

        parts = [part for line in self._lines(block) for part in (*line, Segment.line())]
        self._console.print(Segments(parts), end="")
        self._is_first = False

    def _draw(self) -> None:
        if not (self._drawn.is_shown or self._is_first):
            self._console.print()
        self._drawn.update()

    def _erase(self) -> None:
        if self._drawn.is_shown:
            self._drawn.erase()
            if not self._is_first:
                # The empty line above what was drawn is written again with the block.
                self._console.file.write("\x1b[1A")

    def _last_lines(self) -> list[list[Segment]]:
        """Return the lines of the last block, as many as the terminal has room for."""
        return self._lines(self._tail)[-max(self._console.height - 2, 1) :]

    def _lines(self, text: str) -> list[list[Segment]]:
        """Return the lines of a rendered block, without empty ones around it."""
        from rich.markdown import Markdown as Rendered

        rendered = Rendered(text, code_theme="ansi_dark", hyperlinks=False)
        lines = self._console.render_lines(rendered, pad=False)
        full = [number for number, line in enumerate(lines) if "".join(part.text for part in line).strip()]
        return lines[full[0] : full[-1] + 1] if full else []


def screen_for_answers(*, plain: bool) -> Screen:
    """Return Markdown on a terminal that shows styles, else the text itself."""
    return Text() if plain or not sys.stdout.isatty() or not has_styles() else Markdown()


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size().columns


def _cells(text: str) -> int:
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    return max(wcswidth(text), 0)
