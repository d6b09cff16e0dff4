"""The deliberate mistakes of `tests/typed`."""

from __future__ import annotations

from pathlib import Path

MARK = "# wrong: "


def marked_lines(path: Path) -> set[int]:
    """The lines, from 1, in which a type checker has to find something."""
    return {number for number, line in enumerate(path.read_text().splitlines(), 1) if MARK in line}
