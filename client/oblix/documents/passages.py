"""Cuts documents into passages that fit a prompt and can be cited by their lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

LONGEST = 1_200
"""Characters of a passage: about 300 tokens, so that eight of them fit a small model's window."""
LONGEST_LINE = 4 * LONGEST
OVERLAP_LINES = 2
"""So many lines stand in two passages, that a sentence is whole in one of them."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some lines of a document."""

    first_line: int
    """From 1."""
    last_line: int
    text: str


def cut(text: str) -> Iterator[Piece]:
    """Give the passages of a text, in order: whole paragraphs where they fit."""
    lines = [line[:LONGEST_LINE] for line in text.splitlines()]
    start = 0
    while start < len(lines):
        end = _end(lines, start)
        piece = "\n".join(lines[start:end]).strip()
        if piece:
            yield Piece(start + 1, end, piece)
        if end >= len(lines):
            return
        start = max(end - OVERLAP_LINES, start + 1) if lines[end - 1].strip() else end


def _end(lines: list[str], start: int) -> int:
    """Return where a passage ends that begins there: behind the last paragraph or line that fits."""
    size, end, paragraph = 0, start, start
    while end < len(lines) and (end == start or size + len(lines[end]) < LONGEST):
        size += len(lines[end]) + 1
        end += 1
        if not lines[end - 1].strip():
            paragraph = end
    if end >= len(lines):
        return end
    return paragraph if paragraph > start + OVERLAP_LINES else end
