"""The index's file as its one writer has it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from oblixd.sessions.search.schema import COMPANIONS, LAYOUT, TABLE_NAMES, TABLES, Standing, identity, rows_of

SPARED_ROWS = 50_000
"""Hidden rows that are kept in any case."""

_PRAGMAS = """
PRAGMA journal_mode = WAL;
-- What a power failure takes from the end of the log is indexed again: nobody needs to wait for the disk.
PRAGMA synchronous = NORMAL;
"""
_CALLED_EVERY = 10_000
"""Steps of SQLite's machine between two looks at whether to go on."""


class LostError(Exception):
    """The index is of no use, whatever is in it: another has to be made. Says why."""


class IndexedSession(NamedTuple):
    """How far a session is indexed."""

    number: int
    next: int = 1
    """The first sequence that is not."""
    standing: Standing = Standing.OPEN
    title: str = ""
    """The words of the title."""
    revised_count: int = 0
    """How many edits and answers anew of the session are in the index."""
    unused_count: int = 0
    """How many sequences without a message the session had: deleted messages, and turns without an answer."""


@dataclass(slots=True)
class Batch:
    """What one transaction brings."""

    new_rows: list[tuple[int, str]] = field(default_factory=list)
    """Rows and their words."""
    old_rows: list[tuple[int, str]] = field(default_factory=list)
    """Titles and messages as they were: rows and the words that they were indexed with."""
    sessions: dict[int, IndexedSession] = field(default_factory=dict)
    versions: dict[int, int] = field(default_factory=dict)
    """By row: the version of a message that was revised."""
    hidden_count: int = 0
    """How many rows more are hidden now."""


class Index:
    """One open file. Used on the thread that opened it, which alone writes it.

    A batch is one transaction together with the revision in the sessions' history that it
    brings the index to: whatever ends the process, the index goes on from exactly there.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._identity = identity(path)
        state = connection.execute("SELECT revision, scanned, written, hidden FROM state").fetchone()
        self.revision: int = state[0]
        """The last change that is in it; while everything is gone through, the last before that began."""
        self.scan_position: int | None = state[1]
        """Everything is being gone through, up to this session's number. None: no longer."""
        self._row_count: int = state[2]
        self._hidden_count: int = state[3]

    @classmethod
    @contextmanager
    def open(cls, path: Path, store: bytes, newest: int, is_over: Callable[[], bool]) -> Iterator[Index]:
        """Open the index of a store, or make an empty one to which everything is still to be added.

        `newest` is a revision that the store has reached. Long steps are given up (sqlite3.OperationalError)
        once `is_over` says so. LostError, or another sqlite3.DatabaseError, where what is there is of no use.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.set_progress_handler(is_over, _CALLED_EVERY)
            connection.executescript(_PRAGMAS)
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
            if not names:
                _make(connection, store, newest)
            elif not names >= TABLE_NAMES:
                raise LostError("its file is not an index")
            _check(connection, store, newest)
            yield cls(path, connection)

    def check(self) -> None:
        """LostError where the file was taken away, or holds mostly what is deleted."""
        if identity(self._path) != self._identity:
            raise LostError("its file was taken away")
        if self._hidden_count > max(SPARED_ROWS, self._row_count // 2):
            raise LostError("most of it is of deleted sessions")

    def progress(self, number: int) -> IndexedSession | None:
        """Return how far a session is indexed, or None where nothing of it is."""
        found = self._connection.execute("SELECT * FROM sessions WHERE number = ?", (number,)).fetchone()
        return IndexedSession(found[0], found[1], Standing(found[2]), *found[3:]) if found else None

    def versions(self, number: int) -> dict[int, int]:
        """Return the indexed version of a session's messages by row, if it is not the first."""
        found = self._connection.execute(
            "SELECT row, version FROM versions WHERE row BETWEEN ? AND ?", rows_of(number)
        )
        return dict(found.fetchall())

    def visible_sessions(self, number: int, limit: int) -> list[int]:
        """Return the next sessions that are not hidden, in order of their numbers."""
        found = self._connection.execute(
            "SELECT number FROM sessions WHERE number > ? AND standing != ? ORDER BY number LIMIT ?",
            (number, Standing.GONE, limit),
        )
        return [number for (number,) in found]

    def apply(self, batch: Batch, revision: int, scanned: int | None) -> None:
        """Write a batch, and the revision that it brings the index to."""
        row_count = self._row_count + len(batch.new_rows) - len(batch.old_rows)
        hidden_count = self._hidden_count + batch.hidden_count
        connection = self._connection
        with _transaction(connection):
            connection.executemany(
                "INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", sorted(batch.old_rows)
            )
            # FTS5 keeps rows that come in order together, and begins a new piece for each that does not.
            connection.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", sorted(batch.new_rows))
            connection.executemany(
                "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?)", batch.sessions.values()
            )
            connection.executemany("INSERT OR REPLACE INTO versions VALUES (?, ?)", batch.versions.items())
            connection.execute(
                "UPDATE state SET revision = ?, scanned = ?, written = ?, hidden = ?",
                (revision, scanned, row_count, hidden_count),
            )
        self.revision, self.scan_position = revision, scanned
        self._row_count, self._hidden_count = row_count, hidden_count


def remove(path: Path) -> None:
    """Take an index away, if there is one."""
    for companion in COMPANIONS:
        path.with_name(path.name + companion).unlink(missing_ok=True)


def _make(connection: sqlite3.Connection, store: bytes, newest: int) -> None:
    with _transaction(connection):
        for statement in TABLES:
            connection.execute(statement)
        connection.execute("INSERT INTO state VALUES (?, ?, ?, 0, 0, 0)", (LAYOUT, store, newest))


def _check(connection: sqlite3.Connection, store: bytes, newest: int) -> None:
    layout, of, revision = connection.execute("SELECT layout, store, revision FROM state").fetchone()
    if layout != LAYOUT:
        raise LostError(f"it was made by another version ({layout})")
    if of != store or revision > newest:
        raise LostError("it is of another store")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
