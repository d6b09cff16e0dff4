"""The file of one embedded model: where it is, whether it is sound, and what it says of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from oblixd.errors import invalid_argument
from oblixd.models.base import State, Status
from oblixd.models.embedded import gguf, weights
from oblixd.models.embedded.gguf import BrokenFileError, Header
from oblixd.models.embedded.weights import DEFAULT_NAME, Weights, WeightsError


def configured_files(entries: tuple[str, ...], tables: Mapping[str, str | None]) -> dict[str, Path | None]:
    """Read `NAME=/path` entries, and the files of the `[[models]]` tables by name.

    A name without a file stands for the packaged model, and so does no entry at all.
    Raises InvalidArgumentError for a name that stands there twice, and for another one without a file.
    """
    given = [(name, path or None) for name, _, path in (entry.partition("=") for entry in entries)]
    files: dict[str, Path | None] = {}
    for name, path in [*given, *tables.items()] or [(DEFAULT_NAME, None)]:
        if name in files:
            message = f"The configuration names the embedded model {name} twice: give each file its own name."
            raise invalid_argument("CONFIG_INVALID", message, field="embedded.models", given=name)
        if path is None and name != DEFAULT_NAME:
            message = f'The embedded model {name} has no file: say file = "/absolute/path.gguf".'
            raise invalid_argument("CONFIG_INVALID", message, field="models.file", given=name)
        files[name] = Path(path) if path else None
    return files


class ModelFile:
    """One of the configured files, by its name. What was found once is not looked for again."""

    def __init__(self, name: str, files: Mapping[str, Path | None], state_dir: Path) -> None:
        self.header: Header | None = None
        """None until it was examined."""
        self._name = name
        self._files = files
        self._state_dir = state_dir
        self._weights: Weights | None = None
        self._problem = ""
        self._stamp: tuple[int, int] | None = None

    def status(self) -> Status:
        """Say whether it can be loaded, as far as that is known without reading it."""
        try:
            self._weights = self._weights or self._find()
        except WeightsError as error:
            return Status(State.UNAVAILABLE, str(error))
        if self._problem and self._stamp == _stamp(self._weights.path):
            return Status(State.UNAVAILABLE, self._problem)
        return Status(State.IDLE)

    @property
    def is_packaged(self) -> bool:
        """Whether it came with Oblix, and is none of the user's own."""
        return self._files.get(self._name) is None

    async def examine(self) -> Header:
        """Read its header. Raises WeightsError."""
        _, header = await self._beside(self._examine)
        return header

    async def check(self) -> tuple[Weights, Header]:
        """Read its header, and check its weights where they have a checksum. Raises WeightsError."""
        return await self._beside(self._check)

    async def _beside(self, work: Callable[[], tuple[Weights, Header]]) -> tuple[Weights, Header]:
        try:
            return await asyncio.to_thread(work)
        except WeightsError:
            self._weights = None
            raise

    def _check(self) -> tuple[Weights, Header]:
        found, header = self._examine()
        weights.verify(found, self._state_dir)
        return found, header

    def _examine(self) -> tuple[Weights, Header]:
        found = self._weights or self._find()
        stamp = _stamp(found.path)
        try:
            if self.header is None or stamp != self._stamp:
                self.header = gguf.read(found.path)
            self._problem = ""
        except (BrokenFileError, OSError) as error:
            self.header = None
            self._problem = (
                f"{found.path} {_words(error)}. Fetch it again, or name another in [embedded] models."
            )
            raise WeightsError(self._problem) from error
        finally:
            self._stamp = stamp
        return found, self.header

    def _find(self) -> Weights:
        if self._name not in self._files:
            there = ", ".join(f"embedded:{name}" for name in self._files)
            raise WeightsError(f"There is no embedded model {self._name}: this daemon has {there}.")
        return weights.find(self._files[self._name])


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def _words(error: Exception) -> str:
    return f"can't be read ({error.strerror})" if isinstance(error, OSError) else str(error)
