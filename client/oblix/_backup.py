"""A copy of everything that the daemon keeps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from os import PathLike

from oblix import _files
from oblix._core import Core
from oblix._streams import in_thread
from oblix.v1 import sessions_pb2


class BackupCalls(Core):
    """Backups."""

    async def backup(
        self, path: str | PathLike[str], *, on_progress: Callable[[int, int], object] | None = None
    ) -> int:
        """Write all conversations, as they are at one moment, to a file, and return its size in bytes.

        Other programs go on writing meanwhile. The file is there whole or not at
        all, only its owner can read it, and missing directories are made.
        `oblixd restore FILE` takes it back. `on_progress` is called with the
        bytes so far and the bytes of the whole.

        Raises InvalidArgumentError for a path that can't be written,
        ResourceExhaustedError where the daemon's disk has no room for the copy
        that a backup begins with, and DeadlineExceededError where this program
        took nothing for a minute.
        """
        target = _files.path_of(path)
        answers = self._transport.stream(
            lambda link: link.sessions.BackupStore(sessions_pb2.BackupStoreRequest(), metadata=link.metadata),
            repeatable=True,
        )
        with await in_thread(lambda: _files.Replacement(target)) as file:
            done = total = 0
            async with aclosing(answers):
                async for piece in answers:
                    await in_thread(partial(file.write, piece.data))
                    done, total = done + len(piece.data), piece.estimated_size or total
                    if on_progress is not None:
                        on_progress(done, total)
            await in_thread(file.commit)
        return done
