"""What is looked at before a file is opened.

liblmdb maps the file and trusts it: a page that lies beyond the file's end is a
SIGBUS, a damaged one can be a SIGSEGV. So:

- Always: the file's size against the last page that its newest meta page names.
- When the file is shorter than that (it may be so in health: a page that was
  taken and given back in one transaction is never written), or was not closed:
  a child process reads it first. After an unclean death it reads the ends of every
  table and then on for a quarter of a second at most, so that a start takes as long
  for a million sessions as for ten; liblmdb itself loses nothing by a crash. A short
  file it reads wholly.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from pathlib import Path

from oblixd.errors import DataLossError
from oblixd.store import walk

DATA_FILE = "data.mdb"
FIRST_BYTES = 2**16
"""Meta pages, the list of tables, the schema: what a file has beside its tables, at most."""
MAGIC = 0xBEEFC0DE
WALK_SECONDS = 0.25
"""How long a file that was not closed is read before it is opened."""
WALK_LIMIT_SECONDS = 600.0
"""When a walk is given up: pages that point in a circle have no end."""

_META = struct.Struct("=16x I 20x I 92x Q Q")
"""In a meta page: magic, page size, last page, transaction."""


async def inspect(directory: Path, *, suspicious: bool) -> None:
    """DataLossError where the store's file can't be opened without danger."""
    path = directory / DATA_FILE
    # An empty file is one whose maker died before the first page was written.
    if not path.exists() or path.stat().st_size == 0:
        return
    short = path.stat().st_size < bytes_needed(path)
    if short or suspicious:
        await _walk(directory, 0.0 if short else WALK_SECONDS)


def bytes_needed(path: Path) -> int:
    """Where the last page of the newest transaction ends. DataLossError where its meta pages can't be."""
    with path.open("rb") as file:
        first = file.read(_META.size)
        metas = [_meta(path, first)]
        file.seek(metas[0][1])
        if len(second := file.read(_META.size)) == _META.size:
            metas.append(_meta(path, second))
    _, page_size, last_page, newest = max(metas, key=lambda meta: meta[3])
    # Transactions write the two in turn; one that is further ahead would bring an older state back, unseen.
    if newest - min(meta[3] for meta in metas) > 1:
        raise damaged(path, "its meta pages are not of neighbouring transactions")
    return page_size * (last_page + 1)


def _meta(path: Path, page: bytes) -> tuple[int, int, int, int]:
    if len(page) < _META.size or _META.unpack(page)[0] != MAGIC:
        raise damaged(path, "it is not a store's file, or its first pages are gone")
    magic, page_size, last_page, transaction = _META.unpack(page)
    return magic, page_size, last_page, transaction


async def _walk(directory: Path, seconds: float) -> None:
    walker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        walk.__file__,
        str(directory),
        str(seconds),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(WALK_LIMIT_SECONDS):
            _, complaint = await walker.communicate()
    except TimeoutError:
        raise damaged(directory / DATA_FILE, "reading it does not end") from None
    finally:
        if walker.returncode is None:
            walker.kill()
            await walker.wait()
    if walker.returncode != 0:
        said = complaint.decode(errors="replace").strip().splitlines()
        raise damaged(directory / DATA_FILE, said[-1] if said else "reading it crashes")


def damaged(path: Path, why: str) -> DataLossError:
    """The error that refuses a file."""
    return DataLossError(
        "STORE_DAMAGED",
        f"The store's file {path} is damaged: {why}. It was not opened. Restore it from a backup, or "
        "move it away to start with an empty store.",
        path=path,
    )
