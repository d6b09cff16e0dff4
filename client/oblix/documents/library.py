"""A library: documents that are asked about together, and what is known of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from oblix._convert import documents as document_text
from oblix._convert.validation import describe, invalid
from oblix._launcher import paths
from oblix.documents.connectors import Document, documents_of
from oblix.documents.index import Index, Passage
from oblix.documents.passages import cut

DIRECTORY, SUFFIX = "documents", ".sqlite"
BATCH = 32
"""Passages whose vectors are asked for in one call."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SOURCES = "sources"

Progress = Callable[[str, int], None]
"""Takes a document's name, and how many were seen."""


class Embedder(Protocol):
    """Turns texts into vectors."""

    name: str
    """The model that does: vectors of different models can't be compared."""

    def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """Return a vector for each text. Raises OblixError."""


@dataclass(slots=True)
class Report:
    """What became of documents."""

    added: int = 0
    unchanged: int = 0
    removed: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """Documents that can't be read, with the reasons."""


class Library:
    """Documents under one name. Use it from one thread."""

    def __init__(self, name: str, index: Index) -> None:
        self.name = name
        self._index = index

    @classmethod
    def open(cls, name: str, *, create: bool = True) -> Self:
        """Open the library of that name, or make it. Raises InvalidArgumentError, and FileNotFoundError."""
        path = _path(name)
        if not create and not path.exists():
            raise FileNotFoundError(2, "there is no such library", name)
        return cls(name, Index(path))

    @property
    def is_local_only(self) -> bool:
        """Whether no cloud model may see its documents."""
        return self._index.about("local_only") == "yes"

    def keep_local(self) -> None:
        """Let no cloud model see its documents from now on. It can't be taken back."""
        self._index.set_about("local_only", "yes")

    @property
    def sources(self) -> list[str]:
        """What was added: files, directories, and sources of other connectors."""
        return [line for line in self._index.about(_SOURCES).split("\n") if line]

    @property
    def passage_count(self) -> int:
        """How many passages it has."""
        return self._index.count()

    @property
    def documents(self) -> list[str]:
        """The names of its documents."""
        return sorted(self._index.versions())

    @property
    def embedder(self) -> str:
        """The model whose vectors it has; empty: it is searched by words alone."""
        return self._index.about("embedder")

    def add(self, source: str, progress: Progress | None = None) -> Report:
        """Take in a file, a directory, or what a connector reads. Raises OSError."""
        scheme, colon, _ = source.partition(":")
        kept = source if colon and scheme.isalnum() else str(Path(source).expanduser().absolute())
        report = Report()
        seen = self._take(documents_of(source), report, progress)
        if not seen:
            return report
        self._index.set_about(_SOURCES, "\n".join(dict.fromkeys([*self.sources, kept])))
        return report

    def update(self, progress: Progress | None = None) -> Report:
        """Read what changed, and forget what is gone. Raises OSError where a source is gone itself."""
        report, seen = Report(), set[str]()
        for source in self.sources:
            seen |= self._take(documents_of(source), report, progress)
        gone = set(self._index.versions()) - seen
        self._index.remove(gone)
        report.removed = len(gone)
        return report

    def embed(self, embedder: Embedder, progress: Progress | None = None) -> int:
        """Give every passage a vector that has none, and return how many got one. Raises OblixError."""
        if self.embedder != embedder.name:
            self._index.forget_vectors()
            self._index.set_about("embedder", embedder.name)
        count = 0
        while batch := self._index.without_vector(BATCH):
            vectors = embedder.embed([text for _, text in batch])
            self._index.set_vectors(zip((number for number, _ in batch), vectors, strict=True))
            count += len(batch)
            if progress:
                progress(embedder.name, count)
        return count

    def search(self, question: str, limit: int = 8, embedder: Embedder | None = None) -> list[Passage]:
        """Return the passages that fit a question best: by words, and by meaning where it has vectors."""
        vector = None
        if embedder is not None and embedder.name == self.embedder:
            (vector,) = embedder.embed([question])
        return self._index.search(question, limit, vector)

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()

    def remove(self) -> None:
        """Delete the index. The documents stay where they are."""
        self.close()
        _path(self.name).unlink()

    def _take(self, documents: Iterator[Document], report: Report, progress: Progress | None) -> set[str]:
        """Take in what is new or has changed. Returns the names of all that were seen."""
        known, seen = self._index.versions(), set[str]()
        for document in documents:
            seen.add(document.name)
            if progress:
                progress(document.name, len(seen))
            if known.get(document.name) == document.version:
                report.unchanged += 1
                continue
            try:
                text = document_text.text_of(document.read())
            except (OSError, ValueError) as error:
                report.left_out.append((document.name, str(error)))
                continue
            self._index.put(document.name, document.version, cut(text))
            report.added += 1
        return seen


def libraries() -> list[str]:
    """Return the names of this user's libraries."""
    return sorted(path.stem for path in _directory().glob(f"*{SUFFIX}"))


def _directory() -> Path:
    return paths.log_path().with_name(DIRECTORY)


def _path(name: str) -> Path:
    if not _NAME.fullmatch(name):
        limit = "1 to 64 characters of A-Z a-z 0-9 . _ -, the first a letter or digit"
        raise invalid("name", limit, describe(name))
    return _directory() / f"{name}{SUFFIX}"
