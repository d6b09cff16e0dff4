"""Where documents come from: a connector takes a source and gives documents.

Files and directories are read by the one that is here. A program registers others by the scheme of their
sources, as in `wiki:Handbook`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from oblix._convert.validation import describe, invalid

MAX_FILE_BYTES = 20 * 1024 * 1024
"""Larger files are left out: what people read is smaller."""
LEFT_OUT = frozenset({"node_modules", "__pycache__", "venv", "build", "dist", "target"})
"""Directories of files that programs made. Those whose names begin with a dot are left out, too."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a source."""

    name: str
    """What answers cite: a file's path."""
    version: str
    """Changes whenever the document does: a file's time and size."""
    read: Callable[[], bytes]
    """Return its bytes: text in UTF-8, or a PDF file. May raise OSError."""


Connector = Callable[[str], Iterator[Document]]
"""Takes a source, and gives its documents. May raise OSError."""


def files(source: str) -> Iterator[Document]:
    """Give a file, or every file below a directory."""
    root = Path(source).expanduser().absolute()
    if root.is_file():
        yield _document(root)
        return
    if not root.is_dir():
        raise FileNotFoundError(2, "No such file or directory", str(root))
    for directory, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in LEFT_OUT)
        for name in sorted(names):
            path = Path(directory) / name
            if not name.startswith(".") and path.is_file() and path.stat().st_size <= MAX_FILE_BYTES:
                yield _document(path)


def register_connector(scheme: str, connector: Connector) -> None:
    """Have sources that begin with `scheme:` read by a connector. Raises InvalidArgumentError."""
    if not scheme.isalnum():
        raise invalid("scheme", "letters and digits", describe(scheme))
    _CONNECTORS[scheme] = connector


def documents_of(source: str) -> Iterator[Document]:
    """Give the documents of a source, by the connector of its scheme, else as a path."""
    scheme, colon, _ = source.partition(":")
    connector = _CONNECTORS.get(scheme) if colon else None
    yield from (connector or files)(source)


def _document(path: Path) -> Document:
    status = path.stat()
    return Document(str(path), f"{status.st_mtime_ns}-{status.st_size}", path.read_bytes)


_CONNECTORS: dict[str, Connector] = {"file": lambda source: files(source.removeprefix("file:"))}
