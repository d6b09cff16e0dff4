"""What commands print: tables for people, tab-separated lines for pipes, JSON where it was asked for."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

from oblix._convert.terminal_text import json_text, printable, raw_stream

IDS = {"id", "session_id"}
"""The columns that are never folded: an id is there to be copied."""
NARROWEST, NARROWEST_WITH_TITLE, NARROWEST_TITLE, GAP = 76, 54, 10, 2
TO_THE_MINUTE = "%Y-%m-%d %H:%M"

Row = Mapping[str, object]


def show_json(value: object) -> None:
    """Print a value as indented JSON with sorted keys."""
    print(json_text(value))


def show_rows(rows: Sequence[Row], columns: Mapping[str, str]) -> None:
    """Print rows as a table on a terminal, else as tab-separated lines without a heading.

    `columns` maps each key of a row to its heading.
    """
    if sys.stdout.isatty():
        _draw(rows, columns)
        return
    for row in rows:
        print("\t".join(cell(row[key]) for key in columns))


def local_time(moment: str) -> str:
    """Return an ISO 8601 instant as local time, to the minute."""
    from datetime import datetime

    return datetime.fromisoformat(moment).astimezone().strftime(TO_THE_MINUTE)


def local_time_of(seconds: int) -> str:
    """Return an instant in seconds since 1970 as local time, to the minute."""
    return time.strftime(TO_THE_MINUTE, time.localtime(seconds))


def duration(seconds: float, units: int = 2) -> str:
    """Return the largest units of a time span, two of them: `2 h 5 min`."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:units])


def count_text(number: int, thing: str) -> str:
    """Return a number of things in words: `1 answer`, `1,200 answers`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def definitions(texts: Mapping[str, str]) -> list[str]:
    """Return names and what they mean as lines in two columns that fit the terminal."""
    indent = " " * (max(map(len, texts)) + 4)
    return [
        line for name, text in texts.items() for line in _wrap(text, f"  {name}".ljust(len(indent)), indent)
    ]


def wrap_words(text: str) -> list[str]:
    """Return lines that fit the terminal: words stay whole."""
    return [part for each in text.splitlines() for part in _wrap(each, "", "")]


def _wrap(text: str, first: str, others: str) -> list[str]:
    import shutil
    import textwrap

    width = max(shutil.get_terminal_size().columns, len(others) + NARROWEST_TITLE)
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=others)


def cut(text: str, length: int) -> str:
    """Return the text on one line, of at most `length` characters: a longer one ends with an ellipsis."""
    words = cell(text)
    return words if len(words) <= length else f"{words[: length - 1]}…"


def word(name: str, prefix: str) -> str:
    """Write an enum's value for people: RESOURCE_STATE_AVAILABLE is `available`, unspecified `unknown`."""
    return name.removeprefix(prefix).lower().replace("_", " ").replace("unspecified", "unknown")


def cell(value: object) -> str:
    """Return a value in one line, without control characters."""
    return " ".join(printable(str(value)).split())


def line(piece: str) -> str:
    """Return a piece of a text in one line, without control characters; its ends stay as they are."""
    return printable(piece.replace("\n", " "))


def _draw(rows: Sequence[Row], columns: Mapping[str, str]) -> None:
    # rich costs a tenth of a second: pipes don't pay for it.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A terminal that is narrower breaks the lines by itself: an id can still be copied.
    raw = raw_stream(sys.stdout)
    narrowest = NARROWEST_WITH_TITLE if "title" in columns else NARROWEST
    console = Console(file=raw, width=max(Console(file=raw).width, narrowest))
    room = console.width - _width_beside_title(rows, columns)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1))
    for key, heading in columns.items():
        if key == "title":
            table.add_column(heading, no_wrap=True, overflow="ellipsis", max_width=max(room, NARROWEST_TITLE))
        else:
            table.add_column(heading, no_wrap=key in IDS, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(row[key])) for key in columns))
    console.print(table)


def _width_beside_title(rows: Sequence[Row], columns: Mapping[str, str]) -> int:
    """Return what the other columns take where nothing is folded, with the gaps between all of them."""
    widths = (
        max(len(heading), *(len(cell(row[key])) for row in rows), 0)
        for key, heading in columns.items()
        if key != "title"
    )
    return sum(widths) + GAP * (len(columns) - 1)
