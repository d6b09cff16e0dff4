"""Reading and writing whole files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from oblix._convert.validation import describe, invalid
from oblix.errors import InvalidArgumentError, NotFoundError


def path_of(value: object) -> Path:
    """Return the path that a program names. Raises InvalidArgumentError for what is none."""
    if not isinstance(value, str | os.PathLike):
        raise invalid("file_path", "a path", describe(value))
    return Path(value)


def read(path: Path, most: int) -> bytes:
    """Return a file's content, of a larger file the first `most` bytes and one more. Raises OblixError."""
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except FileNotFoundError:
        raise NotFoundError(
            f"There is no file {path}.", reason="FILE_NOT_FOUND", metadata={"file": str(path)}
        ) from None
    except OSError as error:
        raise _unusable(path, "read", error) from None


def write(path: Path, content: str) -> None:
    """Write a file: whole or not at all, for its owner alone. Makes directories. Raises OblixError."""
    with Replacement(path) as file:
        file.write(content)
        file.commit()


class Replacement:
    """A file in the making. It takes the path's place when it is committed; left before, it is gone.

    Only its owner can read it. Missing directories are made. Every call raises
    InvalidArgumentError where the disk or the path does not let it be written.
    What is no file but a device or a pipe, as /dev/null, stays: it gets the whole when it is committed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._named_errors():
            import tempfile  # noqa: PLC0415 - few programs write files

            self._stays = path.exists() and not path.is_file() and not path.is_dir()
            self._target = path if self._stays else path.resolve()
            self._target.parent.mkdir(parents=True, exist_ok=True)
            directory = None if self._stays else self._target.parent
            descriptor, name = tempfile.mkstemp(dir=directory, prefix=f".{self._target.name[:64]}.")
            self._draft = Path(name)
            self._file = os.fdopen(descriptor, "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # what could not be written is reported already
            self._file.close()
        self._draft.unlink(missing_ok=True)

    def write(self, content: str | bytes) -> None:
        """Add to its end. Text is written as UTF-8."""
        with self._named_errors():
            self._file.write(content.encode() if isinstance(content, str) else content)

    def commit(self) -> None:
        """Put it in place, once it is on disk."""
        with self._named_errors():
            self._file.flush()
            if self._stays:
                import shutil  # noqa: PLC0415 - as above

                with self._draft.open("rb") as draft, self._target.open("wb") as target:
                    shutil.copyfileobj(draft, target)
                return
            os.fsync(self._file.fileno())
            self._draft.replace(self._target)
            _sync_directory(self._target.parent)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _unusable(self._path, "written", error) from None


def _sync_directory(directory: Path) -> None:
    """Make a new name durable. Some file systems can't, and then do it by themselves."""
    if os.name == "nt":  # a directory can't be opened there
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(path: Path, what: str, error: OSError) -> InvalidArgumentError:
    message = f"{path} can't be {what}: {error.strerror or error}."
    return InvalidArgumentError(
        message, reason="FILE_UNUSABLE", metadata={"field": "file_path", "given": str(path)}
    )
