"""Copies of a store: whole, of one moment, and never a burden."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from pathlib import Path

import pytest
from support.drivers.conversations import store_in
from support.drivers.waiting import eventually
from support.faults.small_disk import MIB, fill, small_disk

from oblixd.errors import DeadlineExceededError, ResourceExhaustedError, UnavailableError
from oblixd.store import Store, backup_trailer, offline
from oblixd.store.backup import PIECE_BYTES
from oblixd.store.restore import verify

TABLES = ("things",)


async def _fill(store: Store, count: int = 2000) -> None:
    items = [(b"%06d" % number, os.urandom(500)) for number in range(count)]
    await store.write(lambda txn: store.table("things").put_all(txn, items))


async def _save(store: Store, path: Path) -> list[int]:
    """Writes a copy to a file; returns the sizes of its pieces."""
    copy = await store.backup()
    pieces = [piece async for piece in copy.pieces()]
    sizes = [len(piece) for piece in pieces]
    assert copy.size == sum(sizes)
    await asyncio.to_thread(path.write_bytes, b"".join(pieces))
    return sizes


async def test_a_copy_holds_everything_in_small_pieces(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", TABLES) as store:
        await _fill(store)
        sizes = await _save(store, tmp_path / "copy")
        with store.read() as txn:
            content = list(store.table("things").scan(txn, b""))
    assert max(sizes) == PIECE_BYTES
    assert verify(tmp_path / "copy") == sum(sizes) - backup_trailer.TRAILER_BYTES
    with offline.open_file(tmp_path / "copy") as file:
        assert list(file.tables["things"].scan(file.txn, b"")) == content


async def test_a_copy_leaves_out_what_is_free(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", TABLES) as store:
        await _fill(store)
        await store.write(lambda txn: store.table("things").delete_all(txn, b""))
        assert sum(await _save(store, tmp_path / "copy")) < MIB < (tmp_path / "store/data.mdb").stat().st_size


async def test_a_copy_is_of_one_moment(tmp_path: Path) -> None:
    """Every write changes two keys at once; a copy has both or neither."""
    async with store_in(tmp_path / "store", TABLES) as store:
        things, writing = store.table("things"), True

        async def write() -> None:
            for number in itertools.takewhile(lambda _: writing, itertools.count()):
                pair = [(b"a", b"%d" % number), (b"z", b"%d" % number)]
                await store.write(lambda txn, pair=pair: things.put_all(txn, pair))

        await _fill(store)
        writer = asyncio.create_task(write())
        await eventually(lambda: _has(store, b"z"))
        for _ in range(5):
            await _save(store, tmp_path / "copy")
            with offline.open_file(tmp_path / "copy") as file:
                table = file.tables["things"]
                assert table.get(file.txn, b"a") == table.get(file.txn, b"z") is not None
        writing = False
        await writer


def _has(store: Store, key: bytes) -> bool:
    with store.read() as txn:
        return store.table("things").get(txn, key) is not None


async def test_a_reader_that_stalls_loses_the_copy(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", TABLES) as store:
        await _fill(store)
        copy = await store.backup()
        pieces = copy.pieces(stall_s=0.01)
        await anext(pieces)
        await eventually(lambda: copy._file.closed)
        with pytest.raises(DeadlineExceededError, match="Begin again") as caught:
            await anext(pieces)
        assert caught.value.reason == "BACKUP_STALLED"
        assert _files_without_a_name(tmp_path) == 0


async def test_a_reader_that_leaves_frees_the_copy(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", TABLES) as store:
        await _fill(store)
        pieces = (await store.backup()).pieces()
        await anext(pieces)
        assert _files_without_a_name(tmp_path) == 1
        await pieces.aclose()
        assert _files_without_a_name(tmp_path) == 0


def _files_without_a_name(directory: Path) -> int:
    """Open files of this process in a directory that are in no directory any more."""
    open_files = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return sum(name.startswith(str(directory)) and name.endswith("(deleted)") for name in open_files)


async def test_the_close_gives_up_copies_that_are_being_made(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", TABLES) as store:
        await _fill(store, 20_000)
        making = [asyncio.ensure_future(store.backup()) for _ in range(3)]
        await asyncio.sleep(0)
    for made in await asyncio.gather(*making, return_exceptions=True):
        assert isinstance(made, UnavailableError)
        assert made.reason == "STORE_CLOSED"
    assert _files_without_a_name(tmp_path) == 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("store-")]


async def test_a_caller_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", TABLES) as store:
        await _fill(store, 20_000)
        making = asyncio.ensure_future(store.backup())
        await eventually(lambda: _files_without_a_name(tmp_path) == 1)
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making
        assert _files_without_a_name(tmp_path) == 0
        await _save(store, tmp_path / "copy")


async def test_without_room_for_a_second_copy_none_is_begun(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64) as disk:
        async with store_in(disk / "store", TABLES) as store:
            await _fill(store)
            ballast = fill(disk, leave=17 * MIB)
            with pytest.raises(ResourceExhaustedError, match="Free some space") as caught:
                await store.backup()
            assert caught.value.reason == "DISK_FULL"
            ballast.unlink()
            await _save(store, tmp_path / "copy")
