"""What a query finds in the index, best first."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from oblixd.errors import DeadlineExceededError
from oblixd.sessions.search.schema import MAX_ROW, Standing, rows_of

MAX_RANKED = 2_000
"""How many of what matches are ranked: the newest. Nobody turns so many pages, and each costs time."""
MAX_SECONDS = 1.0
"""When a search ends with what it has."""

# CROSS JOIN keeps the order: the words first. They come by descending id, so nothing has to be sorted, and
# nothing is gone through beyond the limit.
_ROWS = """
SELECT words.rowid, bm25(words) FROM words CROSS JOIN sessions ON sessions.number = words.rowid >> 32
WHERE words MATCH ? AND words.rowid BETWEEN ? AND ? AND sessions.standing BETWEEN ? AND ?
"""
_NEWEST = " ORDER BY words.rowid DESC LIMIT ?"
_ALL = _ROWS + _NEWEST
_WANTED = _ROWS + " AND wanted(sessions.number)" + _NEWEST
_CALLED_EVERY = 1_000
"""Steps of SQLite's machine between two looks at the clock."""


class Ranked(NamedTuple):
    """A row that was found. Ordered by how well it fits, then the newest last."""

    score: float
    """By BM25; higher is better."""
    row: int


@dataclass(frozen=True, slots=True)
class Scope:
    """Where is looked."""

    standings: Sequence[Standing]
    """Sessions that stand so: neighbours, where there are several."""
    number: int | None = None
    """Only this session."""
    is_wanted: Callable[[int], bool] | None = None
    """Only sessions whose number it says True of."""


def rank(path: Path, expression: str, scope: Scope) -> list[Ranked]:
    """Return the newest 2,000 rows that match, best first. Opens the file anew: it may have been replaced.

    DeadlineExceededError SEARCH_TOO_SLOW where nothing was found in a second,
    sqlite3.DatabaseError where the file is missing or damaged.
    """
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None)) as connection:
        until = time.monotonic() + MAX_SECONDS
        connection.set_progress_handler(lambda: time.monotonic() > until, _CALLED_EVERY)
        if scope.is_wanted:
            connection.create_function("wanted", 1, scope.is_wanted)
        first, last = (0, MAX_ROW) if scope.number is None else rows_of(scope.number)
        values = (expression, first, last, min(scope.standings), max(scope.standings), MAX_RANKED)
        found = list(_until_interrupted(connection, _WANTED if scope.is_wanted else _ALL, values))
    return sorted((Ranked(-score, row) for row, score in found), reverse=True)


def _until_interrupted(
    connection: sqlite3.Connection, statement: str, values: Sequence[str | int]
) -> Iterator[tuple[int, float]]:
    found = False
    try:
        for row in connection.execute(statement, values):
            found = True
            yield row
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        if not found:
            raise DeadlineExceededError(
                "SEARCH_TOO_SLOW",
                f"Nothing was found in {MAX_SECONDS:g} s, and not everything was looked at. "
                "Search for rarer words, or in one session.",
            ) from error
