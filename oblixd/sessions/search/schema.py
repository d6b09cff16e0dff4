"""How the index lies in its file.

| table | what |
|---|---|
| words | FTS5, contentless: a row for each message and each title, their words without their text |
| sessions | how far each session is indexed, and its title's words |
| versions | which version of a message is in `words`, for messages that were revised |
| state | one row: what this is the index of, and up to where |

A row's id is the session's number and the message's sequence; sequence 0 is the
title. So a hit is its own address, one session is a range of ids, and the newest
sessions come first when ids descend.
"""

from __future__ import annotations

import sqlite3
import unicodedata
from enum import IntEnum
from pathlib import Path

from oblixd.store.v1 import records_pb2 as records

FILE = "index.sqlite3"
COMPANIONS = ("", "-wal", "-shm")
"""What SQLite adds to a file's name for the files that belong to it."""
LAYOUT = f"2, Unicode {unicodedata.unidata_version}"
"""What words and tables are made by. An index that was made by another is made anew."""
TITLE = 0
"""The sequence under which a title is found."""

TABLE_NAMES = frozenset({"state", "sessions", "versions", "words"})
# Folded words need no further reading, so the plainest tokeniser takes them as they are. A beginning of one
# or two letters fits a great part of all words: those are indexed, too, so that nobody waits while they are
# gathered.
TABLES = (
    "CREATE TABLE state (layout, store, revision, scanned, written, hidden)",
    "CREATE TABLE sessions (number INTEGER PRIMARY KEY, next, standing, title, revised, unused)",
    "CREATE TABLE versions (row INTEGER PRIMARY KEY, version)",
    "CREATE VIRTUAL TABLE words USING fts5(text, content = '', tokenize = 'ascii', prefix = '1 2')",
)

MAX_ROW = 2**63 - 1
_SEQUENCE_BITS = 32
# What can't be read through is as good as damaged: it costs less to make it anew than to find out.
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR})
_MISSING = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_BUSY})


class Standing(IntEnum):
    """How a session stands, as far as the index has seen it."""

    OPEN = 0
    ARCHIVED = 1
    GONE = 2
    """Deleted. Its rows are hidden, and there again should it be brought back."""


def standing(header: records.SessionRecord) -> Standing:
    """Return how a session stands that is there."""
    return Standing.ARCHIVED if header.archived else Standing.OPEN


def row_id(number: int, sequence: int) -> int:
    """Return the id of a message's row."""
    return number << _SEQUENCE_BITS | sequence


def sequence_at(row: int) -> tuple[int, int]:
    """Return the session's number and the message's sequence."""
    return row >> _SEQUENCE_BITS, row & (1 << _SEQUENCE_BITS) - 1


def rows_of(number: int) -> tuple[int, int]:
    """Return the first and the last id that a session's rows can have."""
    return row_id(number, 0), row_id(number + 1, 0) - 1


def identity(path: Path) -> tuple[int, int] | None:
    """Return which file it is that lies there, or None."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Return True if the file is not what SQLite wrote; False if it can't be read or written just now."""
    return _code(error) in _DAMAGE


def is_missing(error: sqlite3.DatabaseError) -> bool:
    """Return True if there is no file or no table in it, or it is just being made."""
    return _code(error) in _MISSING


def _code(error: sqlite3.DatabaseError) -> int:
    # The higher bits tell apart what is the same to us.
    return error.sqlite_errorcode & 0xFF
