"""No room, or no right to write: told clearly, with everything that was acknowledged still there."""

from __future__ import annotations

import asyncio
import subprocess
from itertools import count
from pathlib import Path

import pytest
from support.drivers.conversations import store_in
from support.faults.small_disk import fill, small_disk

from oblixd.errors import ResourceExhaustedError, UnavailableError
from oblixd.store import Store

TABLES = ("things",)
VALUE = b"x" * 20_000


async def _write_until_full(store: Store) -> tuple[int, ResourceExhaustedError]:
    """How many values were acknowledged, and the error of the next."""
    things = store.table("things")
    for number in count():
        try:
            await store.write(lambda txn, key=b"%06d" % number: things.put(txn, key, VALUE))
        except ResourceExhaustedError as error:
            return number, error
    raise AssertionError


def _count(store: Store) -> int:
    with store.read() as txn:
        return sum(value == VALUE for _, value in store.table("things").scan(txn, b""))


async def test_a_full_map_refuses_writes_serves_reads_and_lets_things_be_deleted(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", TABLES, map_size=2**21) as store:
        acknowledged, error = await _write_until_full(store)
        assert error.reason == "STORE_FULL"
        assert "map_size_gib" in error.message
        assert _count(store) == acknowledged > 50
        await store.write(lambda txn: store.table("things").delete_all(txn, b"0000", 10))
        assert _count(store) == acknowledged - 10
        # What is freed can be written over once no read transaction may look at it any more.
        for _ in range(3):
            await store.write(lambda txn: store.table("things").put(txn, b"small", b"v"))
        await store.write(lambda txn: store.table("things").put(txn, b"000000", VALUE))
    async with store_in(tmp_path / "store", TABLES, map_size=2**22) as store:
        assert _count(store) == acknowledged - 9
        assert (await _write_until_full(store))[0] > acknowledged


async def test_a_full_disk_refuses_writes_serves_reads_and_is_forgotten_with_new_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16) as disk:
        async with store_in(disk / "store", TABLES) as store:
            ballast = fill(disk, leave=2**20)
            acknowledged, error = await _write_until_full(store)
            assert error.reason == "DISK_FULL"
            assert "Free some space" in error.message
            assert _count(store) == acknowledged > 10
            ballast.unlink()
            await store.write(lambda txn: store.table("things").put(txn, b"more", VALUE))
            fill(disk)
        ballast.unlink()
        async with store_in(disk / "store", TABLES) as store:
            assert _count(store) == acknowledged + 1


async def test_on_a_full_disk_an_operation_of_a_group_hurts_no_other(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16) as disk:
        async with store_in(disk / "store", TABLES) as store:
            things = store.table("things")
            await store.write(lambda txn: things.put(txn, b"small", b"v"))
            fill(disk, leave=2**18)
            large = store.write(lambda txn: things.put(txn, b"large", b"x" * 2**22))
            small = store.write(lambda txn: things.put(txn, b"small", b"w"))
            refused, done = await asyncio.gather(large, small, return_exceptions=True)
            assert isinstance(refused, ResourceExhaustedError)
            assert done is None
            with store.read() as txn:
                assert things.get(txn, b"small") == b"w"
                assert things.get(txn, b"large") is None


async def test_a_disk_that_can_only_be_read_is_told(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16) as disk:
        async with store_in(disk / "store", TABLES):
            pass
        _remount_read_only(disk)
        with pytest.raises(UnavailableError, match=r"Read-only file system.*owner and mode") as caught:
            async with store_in(disk / "store", TABLES):
                pass
        assert caught.value.reason == "STORE_UNREACHABLE"


def _remount_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


async def test_a_disk_that_is_full_at_the_start_keeps_nobody_from_reading(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16) as disk:
        async with store_in(disk / "store", TABLES) as store:
            await store.write(lambda txn: store.table("things").put(txn, b"k", VALUE))
        ballast = fill(disk)
        async with store_in(disk / "store", TABLES) as store:
            assert _count(store) == 1
            assert (await _write_until_full(store))[1].reason == "DISK_FULL"
            ballast.unlink()
            await store.write(lambda txn: store.table("things").put(txn, b"more", VALUE))
            assert _count(store) >= 2


async def test_a_new_store_on_a_full_disk_is_told(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16) as disk:
        fill(disk)
        with pytest.raises((ResourceExhaustedError, UnavailableError), match="space"):
            async with store_in(disk / "store", TABLES):
                pass
