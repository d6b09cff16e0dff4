"""Reading and writing whole files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from oblix._checks import invalid, shown
from oblix.errors import InvalidArgumentError, NotFoundError


def path_of(value: object) -> Path:
    """The path that a program names. Raises InvalidArgumentError for what is none."""
    if not isinstance(value, str | os.PathLike):
        raise invalid("file_path", "a path", shown(value))
    return Path(value)


def read(path: Path, most: int) -> bytes:
    """A file's content, of a larger file the first `most` bytes and one more. Raises OblixError."""
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
    try:
        target = path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, content)
    except OSError as error:
        raise _unusable(path, "written", error) from None


def _replace(target: Path, content: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:64]}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _unusable(path: Path, what: str, error: OSError) -> InvalidArgumentError:
    message = f"{path} can't be {what}: {error.strerror or error}."
    return InvalidArgumentError(
        message, reason="FILE_UNUSABLE", metadata={"field": "file_path", "given": str(path)}
    )
