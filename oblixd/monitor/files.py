"""Reading the small text files in which Linux tells its counters."""

from __future__ import annotations

from pathlib import Path


def line(path: Path) -> str | None:
    """The text of a file of one line; None where it can't be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return None


def integer(path: Path) -> int | None:
    """The number in a file; None where it can't be read or holds none."""
    text = line(path)
    try:
        return None if text is None else int(text, 0)
    except ValueError:
        return None


def table(path: Path) -> dict[str, int]:
    """Files of lines like `name 12` or `name: 12 kB`, by name. Raises OSError."""
    found = {}
    for row in path.read_text().splitlines():
        words = row.split(maxsplit=2)
        if len(words) > 1 and words[1].isdigit():
            found[words[0].rstrip(":")] = int(words[1])
    return found
