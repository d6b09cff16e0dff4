"""What is looked at before a file is opened.

liblmdb maps the file and trusts it: a damaged page can abort or crash the process, or
hide records. So a file's pages are read by `pages.py` first, which trusts nothing:

- Always, for a fifth of a second at most, which is enough for some thousand pages. A start
  takes as long for a million sessions as for ten.
- To the end when the file is shorter than its newest meta page says (it may be so in health:
  a page that was taken and given back in one transaction is never written), or when the last
  process that had it open crashed in liblmdb.
- When it was not closed, a child process reads it with liblmdb, too, for a quarter of a second.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from pathlib import Path

from oblixd.errors import DataLossError
from oblixd.store.datafile import page_walk, pages

DATA_FILE = "data.mdb"
FIRST_BYTES = 2**16
"""Meta pages, the list of tables, the schema: what a file has beside its tables, at most."""
MAGIC = 0xBEEFC0DE
NO_STORE = "it is not a store's file, or its first pages are gone"
CHECK_SECONDS = 0.2
"""How long the pages of any file are read before it is opened."""
WALK_SECONDS = 0.25
"""How long a file that was not closed is read before it is opened."""
WALK_LIMIT_SECONDS = 600.0
"""When a walk is given up: pages that point in a circle have no end."""

_META = struct.Struct("=16x I 20x I 92x Q Q")
"""In a meta page: magic, page size, last page, transaction."""


async def inspect(directory: Path, *, suspicious: bool, crashed: bool = False) -> None:
    """DataLossError where the store's file can't be opened without danger.

    `suspicious`: it was not closed. `crashed`: its last process died of a signal inside liblmdb.
    """
    path = directory / DATA_FILE
    if not path.exists():
        return
    if path.stat().st_size == 0:
        raise _empty_error(path)
    short = path.stat().st_size < bytes_needed(path)
    seconds = 0.0 if short or crashed else CHECK_SECONDS
    if problems := await asyncio.to_thread(problems_in_pages, path, seconds):
        raise damage_error(path, problems[0])
    if suspicious:
        await _walk(directory, WALK_SECONDS)


def problems_in_pages(path: Path, seconds: float = 0.0) -> list[str]:
    """Return what is wrong with a file's pages, as far as `seconds` (0: no limit) are enough to look."""
    try:
        with pages.open_pages(path) as reader:
            reader.check(seconds)
            return reader.problems
    except pages.DamagedMetaError:
        return [NO_STORE]


def bytes_needed(path: Path) -> int:
    """Return where the newest transaction's last page ends. DataLossError for impossible meta pages."""
    with path.open("rb") as file:
        first = file.read(_META.size)
        metas = [_meta(path, first)]
        file.seek(metas[0][1])
        if len(second := file.read(_META.size)) == _META.size:
            metas.append(_meta(path, second))
    _, page_size, last_page, newest = max(metas, key=lambda meta: meta[3])
    # Transactions write the two in turn; one that is further ahead would bring an older state back, unseen.
    if newest - min(meta[3] for meta in metas) > 1:
        raise damage_error(path, "its meta pages are not of neighbouring transactions")
    return page_size * (last_page + 1)


def _meta(path: Path, page: bytes) -> tuple[int, int, int, int]:
    if len(page) < _META.size or _META.unpack(page)[0] != MAGIC:
        raise damage_error(path, NO_STORE)
    magic, page_size, last_page, transaction = _META.unpack(page)
    return magic, page_size, last_page, transaction


async def _walk(directory: Path, seconds: float) -> None:
    walker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        page_walk.__file__,
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
        raise damage_error(directory / DATA_FILE, "reading it does not end") from None
    finally:
        if walker.returncode is None:
            walker.kill()
            await walker.wait()
    if walker.returncode != 0:
        said = complaint.decode(errors="replace").strip().splitlines()
        raise damage_error(directory / DATA_FILE, said[-1] if said else "reading it crashes")


def damage_error(path: Path, why: str) -> DataLossError:
    """Make the error for a file that is not opened."""
    return DataLossError(
        "STORE_DAMAGED",
        f"The store's file {path} is damaged: {why}. It was not opened. `oblixd salvage` makes a new "
        "store of every session that is whole, and keeps this file; `oblixd restore FILE` takes a backup.",
        path=path,
    )


def _empty_error(path: Path) -> DataLossError:
    return DataLossError(
        "STORE_EMPTY",
        f"The store's file {path} is empty: it has 0 bytes, and no daemon leaves it so. Restore it from a "
        "backup with `oblixd restore`, or remove the file to start with an empty store.",
        path=path,
    )
