"""Renders an answer's Markdown on a terminal while it arrives.

It shows every word of the answer, keeps its line breaks (the lines of a poem), and shows code without a
margin, so that a person can copy it from the terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, MarkdownElement
from rich.markdown import Markdown as RichMarkdown
from rich.segment import Segment, Segments
from rich.syntax import Syntax

from oblix._convert.terminal_text import printable, raw_stream
from oblix.cli.output.redrawing import Redrawn


class Markdown:
    """Renders Markdown while it arrives: blocks that are whole are printed, the last one is drawn again."""

    def __init__(self) -> None:
        # HTML is text here: a renderer for terminals would drop `<name>` from a sentence.
        self._parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
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
        lines = self._console.render_lines(_Rendered(self._parser.parse(text)), pad=False)
        full = [number for number, line in enumerate(lines) if "".join(part.text for part in line).strip()]
        return lines[full[0] : full[-1] + 1] if full else []


class _Code(CodeBlock):
    """Code without the margin that rich puts around it."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Syntax(str(self.text).rstrip(), self.lexer_name, theme=self.theme, word_wrap=True)


class _Rendered(RichMarkdown):
    """Parsed Markdown that keeps line breaks."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **RichMarkdown.elements,
        "fence": _Code,
        "code_block": _Code,
    }

    def __init__(self, tokens: Sequence[Token]) -> None:
        super().__init__("", code_theme="ansi_dark", hyperlinks=False)
        for token in _inline_tokens(tokens):
            if token.type == "softbreak":
                token.type = "hardbreak"
        self.parsed = list(tokens)


def _inline_tokens(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield from token.children or ()
