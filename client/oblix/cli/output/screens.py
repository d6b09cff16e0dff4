"""Where an answer's text goes while it arrives: as it is, wrapped at words, or rendered by `markdown`."""

from __future__ import annotations

import sys
from typing import Protocol

from oblix._convert.terminal_text import has_styles

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


def screen_for_answers(*, plain: bool) -> Screen:
    """Return Markdown on a terminal that shows styles, else the text itself."""
    if plain or not sys.stdout.isatty() or not has_styles():
        return Text()
    # rich costs a tenth of a second: only who looks pays for it.
    from oblix.cli.output.markdown import Markdown

    return Markdown()


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size().columns


def _cells(text: str) -> int:
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    return max(wcswidth(text), 0)
