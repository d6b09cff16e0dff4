"""The index of a library: a SQLite file with passages, their words (FTS5, ranked by BM25) and their vectors.

Vectors are compared one by one: sqlite-vec would need a Python that loads extensions, and many are built
without. A hundred thousand passages take about a second.
"""

from __future__ import annotations

import array
import math
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import mul
from pathlib import Path

from oblix.documents.passages import Piece

SCHEMA_VERSION = 1
FUSION = 60
"""How much less a lower rank counts when two rankings become one (reciprocal rank fusion)."""
CANDIDATES = 50
_SCHEMA = (
    "CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE documents (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, version TEXT NOT NULL)",
    """CREATE TABLE passages (
        id INTEGER PRIMARY KEY,
        document INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
        first_line INTEGER NOT NULL,
        last_line INTEGER NOT NULL,
        text TEXT NOT NULL,
        vector BLOB
    )""",
    "CREATE INDEX passages_by_document ON passages (document)",
    """CREATE VIRTUAL TABLE words USING fts5 (
        text, content=passages, content_rowid=id, tokenize='porter unicode61'
    )""",
    """CREATE TRIGGER added AFTER INSERT ON passages BEGIN
        INSERT INTO words (rowid, text) VALUES (new.id, new.text);
    END""",
    """CREATE TRIGGER removed AFTER DELETE ON passages BEGIN
        INSERT INTO words (words, rowid, text) VALUES ('delete', old.id, old.text);
    END""",
)


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a document that a question is about."""

    document: str
    first_line: int
    last_line: int
    text: str

    @property
    def place(self) -> str:
        """Where it stands, as editors take it: `notes/heat.md:12-30`."""
        return f"{self.document}:{self.first_line}-{self.last_line}"


class Index:
    """One library's file."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it. Only its owner can read it."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(path)
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.execute("PRAGMA recursive_triggers = ON")
        self._make()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def about(self, key: str) -> str:
        """Return what was set about the library; empty where nothing was."""
        found = self._db.execute("SELECT value FROM about WHERE key = ?", (key,)).fetchone()
        return str(found[0]) if found else ""

    def set_about(self, key: str, value: str) -> None:
        """Remember something about the library."""
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (key, value))

    def versions(self) -> dict[str, str]:
        """Return every document's version, by its name."""
        return dict(self._db.execute("SELECT name, version FROM documents"))

    def count(self) -> int:
        """Return how many passages there are."""
        return int(self._db.execute("SELECT count(*) FROM passages").fetchone()[0])

    def put(self, name: str, version: str, pieces: Iterable[Piece]) -> None:
        """Take a document in, in the place of an older version of it. All or nothing."""
        with self._db:
            self._db.execute("DELETE FROM documents WHERE name = ?", (name,))
            row = self._db.execute("INSERT INTO documents (name, version) VALUES (?, ?)", (name, version))
            self._db.executemany(
                "INSERT INTO passages (document, first_line, last_line, text) VALUES (?, ?, ?, ?)",
                ((row.lastrowid, piece.first_line, piece.last_line, piece.text) for piece in pieces),
            )

    def remove(self, names: Iterable[str]) -> None:
        """Forget documents."""
        with self._db:
            self._db.executemany("DELETE FROM documents WHERE name = ?", ((name,) for name in names))

    def without_vector(self, most: int) -> list[tuple[int, str]]:
        """Return passages that have no vector yet, with their ids."""
        rows = self._db.execute("SELECT id, text FROM passages WHERE vector IS NULL LIMIT ?", (most,))
        return [(int(number), str(text)) for number, text in rows]

    def set_vectors(self, vectors: Iterable[tuple[int, Sequence[float]]]) -> None:
        """Give passages their vectors. They are kept at length 1."""
        with self._db:
            self._db.executemany(
                "UPDATE passages SET vector = ? WHERE id = ?",
                ((_unit(vector).tobytes(), number) for number, vector in vectors),
            )

    def forget_vectors(self) -> None:
        """Drop every vector: another model makes them from now on."""
        with self._db:
            self._db.execute("UPDATE passages SET vector = NULL")

    def search(self, question: str, limit: int, vector: Sequence[float] | None = None) -> list[Passage]:
        """Return the passages that fit best, by words and, where the question has a vector, by meaning."""
        scores: dict[int, float] = {}
        for ranking in (self._by_words(question), self._by_meaning(vector)):
            for rank, number in enumerate(ranking):
                scores[number] = scores.get(number, 0.0) + 1 / (FUSION + rank)
        best = sorted(scores, key=lambda number: (-scores[number], number))[:limit]
        return [self._passage(number) for number in best]

    def _make(self) -> None:
        """Make the tables where there are none, under the write lock: another process may be at it, too."""
        if self._version() == SCHEMA_VERSION:
            return
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            if self._version() != SCHEMA_VERSION:
                for statement in _SCHEMA:
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _by_words(self, question: str) -> Iterator[int]:
        words = list(dict.fromkeys(re.findall(r"\w+", question.lower())))
        if not words:
            return
        query = " OR ".join(f'"{word}"' for word in words)
        rows = self._db.execute(
            "SELECT rowid FROM words WHERE words MATCH ? ORDER BY bm25(words) LIMIT ?", (query, CANDIDATES)
        )
        yield from (int(row[0]) for row in rows)

    def _by_meaning(self, vector: Sequence[float] | None) -> list[int]:
        if vector is None:
            return []
        wanted = _unit(vector)
        near = []
        for number, blob in self._db.execute("SELECT id, vector FROM passages WHERE vector IS NOT NULL"):
            stored = array.array("f", blob)
            if len(stored) == len(wanted):
                near.append((sum(map(mul, stored, wanted)), int(number)))
        near.sort(reverse=True)
        return [number for _, number in near[:CANDIDATES]]

    def _passage(self, number: int) -> Passage:
        row = self._db.execute(
            "SELECT name, first_line, last_line, text FROM passages "
            "JOIN documents ON documents.id = document WHERE passages.id = ?",
            (number,),
        ).fetchone()
        return Passage(str(row[0]), int(row[1]), int(row[2]), str(row[3]))


def _unit(vector: Sequence[float]) -> array.array[float]:
    length = math.sqrt(sum(map(mul, vector, vector))) or 1.0
    return array.array("f", (value / length for value in vector))
