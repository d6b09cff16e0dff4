"""Backups that are put in a store's place: only whole ones, and by one step."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.drivers.conversations import store_in
from support.faults.small_disk import fill, small_disk

from oblixd.errors import DataLossError, FailedPreconditionError, InvalidArgumentError, OblixdError
from oblixd.store import backup_trailer, offline, schema
from oblixd.store.inspection import DATA_FILE
from oblixd.store.restore import put_in_place, verify

TABLES = ("things",)


async def _make(directory: Path, value: bytes) -> bytes:
    """A closed store with a value, and a backup of it."""
    async with store_in(directory, TABLES) as store:
        await store.write(lambda txn: store.table("things").put(txn, b"k", value * 1000))
        copy = await store.backup()
        return b"".join([piece async for piece in copy.pieces()])


@pytest.fixture
async def backup(tmp_path: Path) -> Path:
    """A backup whose value is `new`; a store beside it whose value is `old`."""
    content = await _make(tmp_path / "source", b"new")
    await _make(tmp_path / "store", b"old")
    path = tmp_path / "backup"
    path.write_bytes(content)
    return path


def _value(directory: Path) -> bytes | None:
    with offline.open_file(directory / DATA_FILE) as file:
        value = file.tables["things"].get(file.txn, b"k")
        return None if value is None else value[:3]


def _restore(backup: Path) -> bool:
    home = backup.parent
    return put_in_place(backup, verify(backup), home / "store", home / "before", lambda file: None)


def test_a_backup_takes_the_place_and_what_was_there_is_kept(backup: Path) -> None:
    assert _restore(backup)
    assert _value(backup.parent / "store") == b"new"
    assert _value(backup.parent / "before") == b"old"
    assert (backup.parent / "store" / DATA_FILE).stat().st_mode & 0o777 == 0o600


async def test_the_daemon_goes_on_with_a_restored_store(backup: Path) -> None:
    _restore(backup)
    async with store_in(backup.parent / "store", TABLES) as store:
        await store.write(lambda txn: store.table("things").put(txn, b"k", b"newer"))
    assert _value(backup.parent / "before") == b"old"


@pytest.fixture(scope="module")
def backup_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a backup."""
    return asyncio.run(_make(tmp_path_factory.mktemp("source"), b"new"))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_byte_that_was_changed_is_found(data: st.DataObject, backup_bytes: bytes) -> None:
    content = bytearray(backup_bytes)
    place = data.draw(st.integers(0, len(content) - 1) | st.integers(len(content) - 60, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "backup")
        path.write_bytes(content)
        with pytest.raises(OblixdError) as caught:
            verify(path)
    assert caught.value.reason in ("BACKUP_DAMAGED", "NOT_A_BACKUP")


@pytest.mark.parametrize("lost", [1, 51, 52, 53, 4096, 20_000])
def test_a_backup_that_was_cut_short_is_refused(backup: Path, lost: int) -> None:
    backup.write_bytes(backup.read_bytes()[:-lost])
    with pytest.raises(InvalidArgumentError, match="cut short") as caught:
        verify(backup)
    assert caught.value.reason == "NOT_A_BACKUP"


@pytest.mark.parametrize("content", [b"", b"x", b"something else " * 1000, backup_trailer.MAGIC * 10])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(InvalidArgumentError):
        verify(tmp_path / "other")


def test_a_flipped_byte_is_damage(backup: Path) -> None:
    content = bytearray(backup.read_bytes())
    content[5000] ^= 1
    backup.write_bytes(content)
    with pytest.raises(DataLossError, match="is damaged"):
        verify(backup)


def test_a_newer_schema_is_refused(backup: Path) -> None:
    data = backup.read_bytes()[: -backup_trailer.TRAILER_BYTES]
    backup.write_bytes(data + backup_trailer.write(schema.VERSION + 1, len(data), hashlib.sha256(data)))
    with pytest.raises(FailedPreconditionError, match="newer daemon") as caught:
        verify(backup)
    assert caught.value.reason == "SCHEMA_TOO_NEW"


async def test_without_room_nothing_is_changed(tmp_path: Path, backup_bytes: bytes) -> None:
    with small_disk(tmp_path / "disk", 32) as disk:
        (tmp_path / "backup").write_bytes(backup_bytes)
        await _make(disk / "store", b"old")
        fill(disk)
        with pytest.raises(OSError, match="No space left"):
            put_in_place(
                tmp_path / "backup", verify(tmp_path / "backup"), disk / "store", disk / "b", lambda _: None
            )
        assert _value(disk / "store") == b"old"
        assert sorted(path.name for path in (disk / "store").iterdir()) == [DATA_FILE, "in-use", "lock.mdb"]


def test_a_kill_at_any_step_leaves_the_old_or_the_new(backup: Path) -> None:
    """The child kills itself before the n-th call that touches the disk, until it gets through."""
    store, seen = backup.parent / "store", []
    original = (store / DATA_FILE).read_bytes()
    for step in range(100):
        done = subprocess.run([sys.executable, "-c", _CHILD, str(backup), str(step)], check=False)
        seen.append(_value(store))
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        if seen[-1] == b"new":
            (store / DATA_FILE).write_bytes(original)
    assert done.returncode == 0
    assert set(seen) == {b"old", b"new"}
    assert seen[-1] == b"new"
    assert len(seen) > 8


_CHILD = """
import itertools, os, signal, sys
from pathlib import Path
from oblixd.store.restore import put_in_place, verify

backup, step = Path(sys.argv[1]), int(sys.argv[2])
size, home, number = verify(backup), backup.parent, itertools.count()

def watch(event, arguments):
    touches = ("open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.truncate", "os.chmod")
    if event in touches and str(home) in str(arguments) and next(number) == step:
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
put_in_place(backup, size, home / "store", home / f"before-{step}", lambda file: None)
"""
