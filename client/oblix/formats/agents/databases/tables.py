"""SQLite databases that other programs have open: a copy is read, the file itself is never locked or changed.

A database in WAL mode has its newest rows, often all, in the file `-wal` beside it; both are copied.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oblix.formats.conversations import unreadable

Row = dict[str, Any]
"""A row by the names of its columns."""
MAGIC = b"SQLite format 3\x00"
_BESIDE = ("", "-wal", "-journal")
_TRIES = 5
_MAX_VALUE = 256 * 1024 * 1024
_WAL_BYTES = slice(18, 20)
_WAL_MODE = b"\x02\x02"


def is_database(path: Path) -> bool:
    """Return whether a file is a SQLite database, or the empty beginning of one whose rows are in its log."""
    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
        return head == MAGIC or (not head and Path(f"{path}-wal").stat().st_size > 0)
    except OSError:
        return False


@contextmanager
def open_copy(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a copy of a database for a block. Raises InvalidArgumentError if it is damaged or incomplete."""
    with tempfile.TemporaryDirectory(prefix="oblix-import-") as directory:
        copy = Path(directory) / "copy.db"
        try:
            _copy(path, copy)
            connection = sqlite3.connect(copy)
            with contextlib.closing(connection):
                _restrict(connection)
                _check_complete(path, connection)
                yield connection
        except sqlite3.Error as error:
            raise unreadable(str(path), f"it is a damaged database: {error}") from None
        except OSError as error:
            raise unreadable(str(path), f"{error.strerror or error}", reason="FILE_UNUSABLE") from None


def tables_of(connection: sqlite3.Connection) -> dict[str, frozenset[str]]:
    """Return the columns of each table. Views and virtual tables are left out: what they give is computed."""
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE TABLE%' LIMIT 1000"
    ).fetchall()
    return {
        name: frozenset(row[1] for row in connection.execute("SELECT * FROM pragma_table_info(?)", (name,)))
        for (name,) in rows
        if isinstance(name, str)
    }


def rows_of(connection: sqlite3.Connection, query: str, *values: object) -> Iterator[dict[str, Any]]:
    """Yield the rows of a query, by the names of their columns."""
    cursor = connection.execute(query, values)
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))


def json_in(value: object) -> Any:
    """Return the value of a column that holds JSON, None where it holds none."""
    if not isinstance(value, str | bytes):
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _copy(path: Path, copy: Path) -> None:
    """Copy a database as it is at one moment: anew where somebody wrote to it meanwhile."""
    for _ in range(_TRIES):
        before = _state(path)
        for suffix in _BESIDE:
            source, target = Path(f"{path}{suffix}"), Path(f"{copy}{suffix}")
            target.unlink(missing_ok=True)
            if suffix == "" or source.exists():
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(source, target)
        if _state(path) == before:
            return
    raise unreadable(str(path), "somebody writes to it all the time; try again later", reason="FILE_UNUSABLE")


def _state(path: Path) -> list[tuple[int, int] | None]:
    found: list[tuple[int, int] | None] = []
    for suffix in _BESIDE:
        try:
            stat = Path(f"{path}{suffix}").stat()
            found.append((stat.st_size, stat.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found


def _restrict(connection: sqlite3.Connection) -> None:
    """Somebody else wrote the schema: nothing in it runs."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
    connection.text_factory = lambda data: data.decode("utf-8", "replace")


def _check_complete(path: Path, connection: sqlite3.Connection) -> None:
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return
    with path.open("rb") as file:
        is_wal = file.read(100)[_WAL_BYTES] == _WAL_MODE
    missing = f"; its log {path.name}-wal is missing: copy that, too" if is_wal else ""
    raise unreadable(str(path), f"there is no table in it{missing}")
