"""Tables: what is put is got, in order, and damage is told."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.drivers.conversations import store_in

from oblixd.errors import DataLossError
from oblixd.store import Table

KEYS = st.binary(min_size=1, max_size=6)
CONTENTS = st.dictionaries(KEYS, st.binary(max_size=20), max_size=12)


async def test_a_value_comes_back_until_it_is_deleted(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", ("things",)) as store:
        things = store.table("things")
        await store.write(lambda txn: things.put(txn, b"k", b"value"))
        with store.read() as txn:
            assert things.get(txn, b"k") == b"value"
            assert things.get(txn, b"other") is None
            assert things.count(txn) == 1
        assert await store.write(lambda txn: things.delete(txn, b"k"))
        assert not await store.write(lambda txn: things.delete(txn, b"k"))
        with store.read() as txn:
            assert things.get(txn, b"k") is None


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(KEYS, st.binary(max_size=20), max_size=12), st.binary(max_size=2), KEYS, st.integers(0, 9)
)
def test_scans_and_sweeps_agree_with_a_sorted_dict(
    content: dict[bytes, bytes], prefix: bytes, bound: bytes, limit: int
) -> None:
    with tempfile.TemporaryDirectory() as directory, lmdb.open(directory, max_dbs=1) as environment:
        table = Table("things", environment.open_db(b"things"))
        under = [(key, content[key]) for key in sorted(content) if key.startswith(prefix)]
        with environment.begin(write=True) as txn:
            table.put_all(txn, content.items())
            assert list(table.scan(txn, prefix)) == under
            assert list(table.scan_back(txn, prefix)) == under[::-1]
            start = prefix + bound
            assert list(table.scan(txn, prefix, start)) == [item for item in under if item[0] >= start]
            assert list(table.scan_back(txn, prefix, start)) == [
                item for item in under[::-1] if item[0] < start
            ]
            assert table.delete_all(txn, prefix, limit) == min(limit, len(under))
            assert list(table.scan(txn, prefix)) == under[limit:]
            assert table.delete_all(txn, prefix) == max(len(under) - limit, 0)
            assert table.count(txn) == len(content) - len(under)


@pytest.mark.parametrize("place", [0, 3, 4, 8])
async def test_a_flipped_bit_is_found_wherever_it_is(tmp_path: Path, place: int) -> None:
    async with store_in(tmp_path / "store", ("things",)) as store:
        things = store.table("things")
        await store.write(lambda txn: things.put(txn, b"k", b"value"))

        def damage(txn: lmdb.Transaction[bytes]) -> None:
            value = bytearray(txn.get(b"k", b"", db=things._database))
            value[place] ^= 1
            txn.put(b"k", bytes(value), db=things._database)

        await store.write(damage)
        with store.read() as txn, pytest.raises(DataLossError, match=r"6b in things") as caught:
            things.get(txn, b"k")
    assert caught.value.reason == "RECORD_DAMAGED"
    assert caught.value.metadata == {"table": "things", "key": "6b", "damage": "checksum"}


async def test_a_value_under_another_ones_key_is_damage(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", ("things",)) as store:
        things = store.table("things")

        def misplace(txn: lmdb.Transaction[bytes]) -> None:
            things.put(txn, b"a", b"value")
            txn.put(b"b", txn.get(b"a", b"", db=things._database), db=things._database)

        await store.write(misplace)
        with store.read() as txn, pytest.raises(DataLossError):
            list(things.scan(txn, b""))


async def test_readers_see_a_snapshot(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", ("things",)) as store:
        things = store.table("things")
        with store.read() as txn:
            writing = asyncio.ensure_future(store.write(lambda other: things.put(other, b"k", b"new")))
            await writing
            assert things.get(txn, b"k") is None
        with store.read() as txn:
            assert things.get(txn, b"k") == b"new"
