"""Opening a store: alone, with care, and refusing what can't be read."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import struct
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest
from support.drivers.conversations import store_in

from oblixd.errors import DataLossError, FailedPreconditionError, ResourceExhaustedError, UnavailableError
from oblixd.store import schema
from oblixd.store.datafile import page_walk
from oblixd.store.directory_lock import LOCK_FILE, DirectoryLock
from oblixd.store.inspection import DATA_FILE
from oblixd.store.table import CHECKSUM_BYTES, Table
from oblixd.store.v1 import records_pb2 as records

TABLES = ("things",)
PAGE = 4096
LAST_PAGE_AT = 136


@pytest.fixture
async def filled_store(tmp_path: Path) -> Path:
    """A closed store with a thousand values on many pages, and a large one."""
    async with store_in(tmp_path / "store", TABLES) as store:
        things = store.table("things")
        items = [(b"%04d" % n, b"value" * 20) for n in range(999)] + [(b"large", b"x" * 3 * PAGE)]
        await store.write(lambda txn: things.put_all(txn, items))
    return tmp_path / "store"


def _not_closed(directory: Path) -> None:
    """Makes it look as if its daemon had died."""
    (directory / LOCK_FILE).write_text("1\n")


async def _count(directory: Path) -> int:
    async with store_in(directory, TABLES) as store:
        with store.read() as txn:
            return store.table("things").count(txn)


async def test_only_the_owner_can_read_it(filled_store: Path) -> None:
    files = (DATA_FILE, "lock.mdb", LOCK_FILE)
    assert _modes(filled_store) == {"store": 0o700} | dict.fromkeys(files, 0o600)


def _modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in (directory, *directory.iterdir())}


async def test_a_second_opener_is_told_and_the_first_goes_on(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", TABLES) as store:
        with pytest.raises(FailedPreconditionError, match="Another process") as caught:
            await _count(tmp_path / "store")
        assert caught.value.reason == "STORE_IN_USE"
        await store.write(lambda txn: store.table("things").put(txn, b"k", b"v"))
    assert await _count(tmp_path / "store") == 1


async def test_a_file_that_is_shorter_than_its_pages_is_refused(filled_store: Path) -> None:
    data = filled_store / DATA_FILE
    os.truncate(data, data.stat().st_size // 2 // PAGE * PAGE)
    with pytest.raises(DataLossError, match=f"{DATA_FILE} is damaged.*backup") as caught:
        await _count(filled_store)
    assert caught.value.reason == "STORE_DAMAGED"


async def test_a_short_file_that_lacks_only_pages_that_nobody_uses_is_opened(filled_store: Path) -> None:
    """liblmdb leaves pages unwritten that one transaction took and gave back."""
    _claim_one_page_more(filled_store / DATA_FILE)
    assert await _count(filled_store) == 1000


def _claim_one_page_more(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for meta in (0, PAGE):
        (last_page,) = struct.unpack_from("=Q", content, meta + LAST_PAGE_AT)
        struct.pack_into("=Q", content, meta + LAST_PAGE_AT, last_page + 1)
    path.write_bytes(content)


@pytest.mark.parametrize("content", [b"not a store", b"\0" * 3 * PAGE])
async def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DATA_FILE).write_bytes(content)
    with pytest.raises(DataLossError, match="not a store's file"):
        await _count(tmp_path)
    assert (tmp_path / DATA_FILE).read_bytes() == content


async def test_an_empty_file_is_no_new_store(filled_store: Path) -> None:
    os.truncate(filled_store / DATA_FILE, 0)
    with pytest.raises(DataLossError, match=r"is empty.*oblixd restore.*remove the file") as caught:
        await _count(filled_store)
    assert caught.value.reason == "STORE_EMPTY"
    (filled_store / DATA_FILE).unlink()
    assert await _count(filled_store) == 0


def test_a_new_store_has_its_pages_from_the_first_moment(tmp_path: Path) -> None:
    """A child is killed when it opens a new store's file: what is there is whole, or nothing is."""
    code = (
        "import asyncio, os, signal, sys, pathlib, lmdb\n"
        "from oblixd.store import Store\n"
        "opened = lmdb.open\n"
        "def opening(path, **options):\n"
        "    if options.get('subdir', True): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return opened(path, **options)\n"
        "lmdb.open = opening\n"
        "asyncio.run(Store.open(pathlib.Path(sys.argv[1]), ('things',), map_size=2**30))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "store")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "store" / DATA_FILE).stat().st_size >= 2 * PAGE


@pytest.mark.parametrize("version", ["0", "1"])
def test_the_format_is_not_the_environment_s_choice(tmp_path: Path, version: str) -> None:
    code = (
        "import asyncio, sys, pathlib\n"
        "from oblixd.store import Store\n"
        "async def main():\n"
        "    store = await Store.open(pathlib.Path(sys.argv[1]), ('things',), map_size=2**30)\n"
        "    await store.write(lambda txn: store.table('things').put(txn, b'k', b'v'))\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
    )
    environ = {**os.environ, "LMDB_DEFAULT_LIB_VERSION": version}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "store")], env=environ, check=True)
    assert asyncio.run(_count(tmp_path / "store")) == 1


def test_a_map_that_does_not_fit_into_the_address_space_is_told(tmp_path: Path) -> None:
    code = (
        "import asyncio, resource, sys, pathlib\n"
        "from oblixd.errors import ResourceExhaustedError\n"
        "from oblixd.store import Store\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))\n"
        "try:\n"
        "    asyncio.run(Store.open(pathlib.Path(sys.argv[1]), ('things',), map_size=2**36))\n"
        "except ResourceExhaustedError as error:\n"
        "    print(error.reason, error.message)\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "store")]
    told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert told.startswith("ADDRESS_SPACE_LIMITED")
    assert "ulimit -v" in told
    assert "map_size_gib" in told


async def test_after_an_unclean_death_it_is_read_and_opened(filled_store: Path) -> None:
    _not_closed(filled_store)
    assert await _count(filled_store) == 1000


async def test_after_an_unclean_death_a_reader_that_crashes_is_told(
    filled_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _not_closed(filled_store)
    crashing = tmp_path / "crashing.py"
    crashing.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGABRT)\n")
    monkeypatch.setattr(page_walk, "__file__", str(crashing))
    for _ in range(2):  # it stays unclean: the next start looks again
        with pytest.raises(DataLossError, match=r"reading it crashes.*oblixd salvage"):
            await _count(filled_store)


async def test_a_record_that_reaches_beyond_the_file_is_found_before_it_is_opened(filled_store: Path) -> None:
    """Whoever reads it through the map would die of a bus error."""
    _stretch_a_value(filled_store / DATA_FILE)
    with pytest.raises(DataLossError, match="a record points outside the file"):
        await _count(filled_store)


def _stretch_a_value(path: Path) -> None:
    content = path.read_bytes()
    low, on_pages_of_its_own = (3 * PAGE + CHECKSUM_BYTES) & 0xFFFF, 1
    node, stretched = (
        struct.pack("=4H", low, high, on_pages_of_its_own, 5) + b"large" for high in (0, 0x7000)
    )
    assert content.count(node) > 0
    path.write_bytes(content.replace(node, stretched))


def test_a_crash_inside_the_store_is_known_to_the_next_start(tmp_path: Path) -> None:
    """faulthandler writes where a process was when a signal killed it."""
    code = (
        "import asyncio, signal, sys, pathlib\n"
        "from oblixd.store import Store\n"
        "async def main():\n"
        "    store = await Store.open(pathlib.Path(sys.argv[1]), ('things',), map_size=2**30)\n"
        "    store.report_crashes()\n"
        "    crash = lambda txn: signal.raise_signal(signal.SIGSEGV)\n"
        "    await (store.write(crash) if sys.argv[2] == 'inside' else crash(None))\n"
        "asyncio.run(main())\n"
    )
    for where, crashed in (("inside", True), ("outside", False)):
        words = [sys.executable, "-c", code, str(tmp_path / where), where]
        done = subprocess.run(words, check=False, capture_output=True)
        assert done.returncode == -signal.SIGSEGV
        claim = DirectoryLock.take(tmp_path / where)
        assert (claim.is_unclean, claim.has_crashed) == (True, crashed)
        claim.give_up()


async def test_after_an_unclean_death_pages_of_nonsense_are_found(filled_store: Path) -> None:
    _not_closed(filled_store)
    content = (filled_store / DATA_FILE).read_bytes()
    (filled_store / DATA_FILE).write_bytes(content[: 2 * PAGE] + b"\xff" * (len(content) - 2 * PAGE))
    with pytest.raises(DataLossError, match="damaged"):
        await _count(filled_store)


async def test_a_newer_schema_is_refused_and_left_as_it_is(filled_store: Path) -> None:
    newer = records.SchemaRecord(version=schema.VERSION + 1).SerializeToString()
    with lmdb.open(str(filled_store), max_dbs=4) as environment:
        table = Table(schema.TABLE, environment.open_db(schema.TABLE.encode()))
        with environment.begin(write=True) as txn:
            table.put(txn, schema.KEY, newer)
    for _ in range(2):
        with pytest.raises(FailedPreconditionError, match="newer daemon") as caught:
            await _count(filled_store)
        assert caught.value.reason == "SCHEMA_TOO_NEW"


async def test_a_directory_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="can't be written") as caught:
        await _count(tmp_path / "file" / "store")
    assert caught.value.reason == "STORE_UNREACHABLE"


async def test_a_map_too_small_for_the_first_pages_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResourceExhaustedError, match="map_size_gib"):
        async with store_in(tmp_path / "store", tuple(f"t{n}" for n in range(30)), map_size=4 * PAGE):
            pass


def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """The child prints a number once it is durable; then it is killed in the middle of the next."""
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(tmp_path / "store")], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child:
        acknowledged = [int(child.stdout.readline()) for _ in range(300)]
        child.kill()
        acknowledged += [int(line) for line in child.stdout.read().split()]
    with lmdb.open(str(tmp_path / "store"), max_dbs=4) as environment:
        things = environment.open_db(b"things")
        with environment.begin() as txn:
            there = [int(key) for key, _ in txn.cursor(things)]
    assert set(acknowledged) <= set(there)


_CHILD = """
import asyncio, itertools, sys
from pathlib import Path
from oblixd.store import Store

async def main():
    store = await Store.open(Path(sys.argv[1]), ("things",), map_size=1 << 30)
    things = store.table("things")
    numbers = itertools.count()
    async def write():
        for number in numbers:
            await store.write(lambda txn, number=number: things.put(txn, b"%08d" % number, b"v"))
            print(number, flush=True)
    await asyncio.gather(*(write() for _ in range(8)))

asyncio.run(main())
"""
