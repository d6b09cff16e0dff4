"""What commands print: tables for people, tab-separated lines for pipes, JSON where it was asked for."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from oblix._convert.terminal_text import json_text, printable, raw_stream

if TYPE_CHECKING:
    from rich.console import Console

IDS = {"id", "session_id"}
"""The columns that are never folded: an id is there to be copied."""
NARROWEST, NARROWEST_TITLE, GAP = 76, 10, 2
"""On a terminal that is narrower than the first, a table that does not fit is no table any more."""
TO_THE_MINUTE = "%Y-%m-%d %H:%M"

Row = Mapping[str, object]


def show_json(value: object) -> None:
    """Print a value as indented JSON with sorted keys."""
    print(json_text(value))


def show_rows(rows: Sequence[Row], columns: Mapping[str, str]) -> None:
    """Print rows as a table on a terminal, else as tab-separated lines without a heading; nothing of none.

    A terminal on which the table does not fit gets a paragraph for each row.
    `columns` maps each key of a row to its heading.
    """
    if sys.stdout.isatty():
        if rows:
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


def wrap_words(text: str, indent: str = "") -> list[str]:
    """Return lines that fit the terminal: words stay whole."""
    return [part for each in text.splitlines() for part in _wrap(each, indent, indent)]


def fit(text: str) -> str:
    """Return a text for standard error: on a terminal its lines end between words."""
    if not sys.stderr.isatty():
        return text
    import shutil
    import textwrap

    width = shutil.get_terminal_size().columns
    wrap = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    return "\n".join("\n".join(wrap.wrap(line)) if len(line) > width else line for line in text.split("\n"))


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

    console = Console(file=raw_stream(sys.stdout))
    room = console.width - _width_beside_title(rows, columns)
    if console.width < NARROWEST and room < (NARROWEST_TITLE + GAP if "title" in columns else 0):
        _draw_paragraphs(console, rows, columns)
    else:
        _draw_table(console, rows, columns, room)


def _draw_table(console: Console, rows: Sequence[Row], columns: Mapping[str, str], room: int) -> None:
    """Draw a line for each row. `room`: what is left for the title."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1))
    for key, heading in columns.items():
        if key == "title":
            table.add_column(heading, no_wrap=True, overflow="ellipsis", max_width=max(room, NARROWEST_TITLE))
        else:
            table.add_column(heading, no_wrap=key in IDS, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(row[key])) for key in columns))
    console.print(table)


def _draw_paragraphs(console: Console, rows: Sequence[Row], columns: Mapping[str, str]) -> None:
    """Print for each row its first value on a line, and the others below it, each with its heading."""
    from rich.padding import Padding
    from rich.text import Text

    first, *others = columns
    for row in rows:
        # A value that is wider than the terminal goes on in the next line: it can still be copied.
        console.print(Text(cell(row[first]), style="bold", overflow="fold"))
        values = {columns[key].lower(): cell(row[key]) for key in others}
        facts = [f"{heading} {value}".strip() for heading, value in values.items() if value]
        for each in _pack(facts, console.width - GAP):
            console.print(Padding.indent(Text(each, overflow="fold"), GAP))


def _pack(facts: Sequence[str], width: int) -> list[str]:
    """Put facts on lines, as many on each as fit."""
    from rich.cells import cell_len

    lines: list[str] = []
    for fact in facts:
        joined = f"{lines[-1]} · {fact}" if lines else fact
        if lines and cell_len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(fact)
    return lines


def _width_beside_title(rows: Sequence[Row], columns: Mapping[str, str]) -> int:
    """Return what the other columns take where nothing is folded, with the gaps between all of them."""
    from rich.cells import cell_len

    widths = (
        max(len(heading), *(cell_len(cell(row[key])) for row in rows), 0)
        for key, heading in columns.items()
        if key != "title"
    )
    return sum(widths) + GAP * (len(columns) - 1)
