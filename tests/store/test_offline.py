"""Reading a file without trust: also what lies between the records is held against them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from support.drivers.conversations import store_in

from oblixd.errors import DataLossError
from oblixd.store import offline
from oblixd.store.inspection import DATA_FILE

TABLES = ("things",)
PAGE = 4096
BRANCH = 1


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """The file of a closed store whose table has many pages."""
    async with store_in(tmp_path, TABLES) as store:
        things = store.table("things")
        items = [(b"key %06d" % number, b"value" * 20) for number in range(2000)]
        await store.write(lambda txn: things.put_all(txn, items))
    return tmp_path / DATA_FILE


def _damage(data: Path) -> list[offline.Damage]:
    with offline.open_file(data) as file:
        return list(offline.damage(file))


def test_a_sound_file_has_no_damage(data: Path) -> None:
    assert _damage(data) == []


def test_records_that_are_sound_but_not_found_by_their_key_are_damage(data: Path) -> None:
    """A search goes by the keys in branch pages, which have no checksum; a walk goes past them."""
    content = bytearray(data.read_bytes())
    starts = [at for at in range(0, len(content), PAGE) if content[at + 10] == BRANCH]
    assert starts
    for start in starts:
        place = content.index(b"key ", start + PAGE // 2)
        assert place < start + PAGE
        content[place + 4 : place + 10] = b"999999"
    data.write_bytes(content)
    found = _damage(data)
    assert found
    assert {damage.table for damage in found} == {"things"}


def test_a_table_that_counts_more_than_it_has_is_damage(data: Path) -> None:
    content = data.read_bytes()
    entries = struct.pack("=Q", 2000)
    assert entries in content
    data.write_bytes(content.replace(entries, struct.pack("=Q", 2001)))
    assert offline.Damage("things", b"", "the table things has not as many records as it counts") in _damage(
        data
    )


def test_a_change_is_durable_and_whole(data: Path) -> None:
    offline.change(data, lambda file: file.tables["things"].put(file.txn, b"new", b"v"))
    with pytest.raises(ZeroDivisionError):
        offline.change(data, _fail)
    with offline.open_file(data) as file:
        assert file.tables["things"].get(file.txn, b"new") == b"v"
        assert file.tables["things"].get(file.txn, b"bad") is None


def _fail(file: offline.File) -> None:
    file.tables["things"].put(file.txn, b"bad", b"v")
    _ = 1 // 0


def test_a_file_that_liblmdb_refuses_is_data_loss(tmp_path: Path) -> None:
    (tmp_path / "foreign").write_bytes(b"foreign " * PAGE)
    with pytest.raises(DataLossError, match="foreign is damaged"), offline.open_file(tmp_path / "foreign"):
        pass
