"""A disk of a test's own, so small that it can be filled."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 2**20


@contextmanager
def small_disk(directory: Path, mib: int) -> Iterator[Path]:
    """A file system of so many mebibytes, mounted for a block. Skips the test where none may be mounted."""
    directory.mkdir(mode=0o700, exist_ok=True)
    options = f"size={mib}m,mode=0700"
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    mounted = subprocess.run(words, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a full disk needs a small tmpfs, which may not be mounted here: {mounted.stderr}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(directory: Path, leave: int = 0) -> Path:
    """Takes all room on a disk but `leave` bytes, by one file: remove it to have the room again."""
    ballast = directory / "ballast"
    with ballast.open("wb") as file:
        while True:
            free = os.statvfs(directory)
            try:
                os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_frsize - leave, 1))
            except OSError as error:  # somebody else took of it meanwhile
                if error.errno != errno.ENOSPC:
                    raise
                if free.f_bavail:
                    continue
            return ballast
