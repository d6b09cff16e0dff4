"""Files and directories as streams of bytes. What is compressed is expanded as it is read, within bounds."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

from oblix.errors import InvalidArgumentError, NotFoundError
from oblix.formats.conversations import unreadable
from oblix.formats.values import CHUNK_BYTES

MAX_RATIO = 200
"""How much larger than its compressed bytes a file may become. Conversations shrink to a fifth or a tenth."""
FREE_BYTES = 16 * 1024 * 1024
"""What any file may become."""
MAX_ARCHIVED = 1000
MAX_DIRECTORY_BYTES = 8 * 1024 * 1024
"""Of a zip file's table of contents, some 100,000 names."""
SUFFIXES = {".json", ".jsonl", ".ndjson"}
MAX_FILES = 200_000
"""That are looked for below a directory."""
_TOOLS_PATTERNS = ("*.jsonl", "*.conversation.json", "CURRENT", "*.db", "*.sqlite", ".aider.chat.history.md")

_DAMAGE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError)


def files_in(path: Path) -> list[Path]:
    """Return the files that a path stands for: itself, or a directory's conversations by name.

    Of a directory with `conversations*.json`, an export's, only those; else all `*.json`, `*.jsonl` and
    `*.ndjson`; where there are none, the files of tools in the directories inside. Raises NotFoundError, and
    InvalidArgumentError where there is nothing to read.
    """
    try:
        if path.is_file():
            return [path]
        found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    except FileNotFoundError:
        raise NotFoundError(
            f"There is no file or directory {path}.", reason="FILE_NOT_FOUND", metadata={"file": str(path)}
        ) from None
    except OSError as error:
        raise unreadable(str(path), f"{error.strerror or error}", reason="FILE_UNUSABLE") from None
    found = _conversations(found) or found or _tools_files(path)
    if not found:
        raise unreadable(str(path), f"it has no file that ends in {', '.join(sorted(SUFFIXES))}")
    return found


def _tools_files(path: Path) -> list[Path]:
    """Return what tools wrote below a directory: logs of lines, and files of fixed names."""
    walked = (file for pattern in _TOOLS_PATTERNS for file in islice(path.rglob(pattern), MAX_FILES))
    return sorted({file for file in walked if file.is_file()})


def _conversations(files: list[Path]) -> list[Path]:
    return [file for file in files if _is_export(file.name)]


def _is_export(name: str) -> bool:
    return name.startswith("conversations") and name.endswith(".json")


@contextmanager
def open_binary(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for a block. Raises InvalidArgumentError if it can't be opened."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise unreadable(str(path), f"{error.strerror or error}", reason="FILE_UNUSABLE") from None
    with file:
        yield file


def streams(file: IO[bytes], source: str) -> Iterator[tuple[str, io.BufferedReader]]:
    """List what is in an open file, by name: itself, the content of a gzip file, the members of a zip file.

    Reading raises InvalidArgumentError where it is damaged, or expands far more than conversations do.
    """
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(b"PK\x03\x04"):
        yield from _unzip(file, source)
    elif magic.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=file) as inner:
            yield source, _buffer(inner, file.tell, source)
    else:
        yield source, _buffer(file, None, source)


def _unzip(file: IO[bytes], source: str) -> Iterator[tuple[str, io.BufferedReader]]:
    try:
        archive = zipfile.ZipFile(_Sparing(file, source))
    except (*_DAMAGE, ValueError) as error:
        raise unreadable(source, f"it is a damaged zip file: {error}") from None
    with archive:
        for info in _members(archive, source):
            name = f"{source}/{info.filename}"
            if info.flag_bits & 1:
                raise unreadable(name, "it is encrypted")
            try:
                inner = archive.open(info)
            except (*_DAMAGE, ValueError) as error:
                raise unreadable(name, f"it is damaged: {error}") from None
            with inner:
                yield name, _buffer(inner, _constant(info.compress_size), name)


def _constant(size: int) -> Callable[[], int]:
    return lambda: size


def _members(archive: zipfile.ZipFile, source: str) -> list[zipfile.ZipInfo]:
    files = [info for info in archive.infolist() if Path(info.filename).suffix.lower() in SUFFIXES]
    wanted = [info for info in files if _is_export(Path(info.filename).name)] or files
    if not wanted:
        raise unreadable(source, "there are no conversations in it")
    if len(wanted) > MAX_ARCHIVED:
        raise unreadable(
            source, f"it has more than {MAX_ARCHIVED} files of conversations", reason="TOO_LARGE"
        )
    return sorted(wanted, key=lambda info: info.filename)


def _buffer(inner: _Readable, bytes_read: Callable[[], int] | None, source: str) -> io.BufferedReader:
    return io.BufferedReader(_Bounded(inner, bytes_read, source), CHUNK_BYTES)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Bounded(io.RawIOBase):
    """Reads another stream. Names the source where that is damaged or a bomb."""

    def __init__(self, inner: _Readable, bytes_read: Callable[[], int] | None, source: str) -> None:
        self._inner = inner
        self._taken = bytes_read
        self._source = source
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._inner.read(len(buffer))
        except _DAMAGE as error:
            raise unreadable(self._source, f"it is damaged or cut off: {error}") from None
        buffer[: len(data)] = data
        self._size += len(data)
        self._check()
        return len(data)

    def _check(self) -> None:
        if self._taken is None or self._size <= FREE_BYTES:
            return
        if self._size > MAX_RATIO * self._taken():
            raise self._bomb()

    def _bomb(self) -> InvalidArgumentError:
        problem = f"it expands to more than {MAX_RATIO} times its size, which no conversations do"
        return unreadable(self._source, problem, reason="TOO_LARGE")


class _Sparing:
    """A file for `zipfile`, which would read a table of contents of any size at once."""

    def __init__(self, file: IO[bytes], source: str) -> None:
        self._file = file
        self._source = source
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """Return what was asked for, which is at most 8 MiB."""
        data = self._file.read(MAX_DIRECTORY_BYTES + 1 if size < 0 else min(size, MAX_DIRECTORY_BYTES + 1))
        if len(data) > MAX_DIRECTORY_BYTES:
            raise unreadable(self._source, "it has far too many files in it", reason="TOO_LARGE")
        return data
