"""The writer: groups, order, failures that hurt nobody, work for idle moments."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest
from support.drivers.conversations import store_in

from oblixd.errors import (
    DataLossError,
    NotFoundError,
    OblixdError,
    ResourceExhaustedError,
    UnavailableError,
)
from oblixd.store import Store, Table, Transaction, writer
from oblixd.store.writer import translate

TABLES = ("things",)


def _put(things: Table, key: bytes) -> Callable[[Transaction], None]:
    return lambda txn: things.put(txn, key, b"v")


def _keys(store: Store) -> list[bytes]:
    with store.read() as txn:
        return [key for key, _ in store.table("things").scan(txn, b"")]


async def test_writes_of_one_moment_share_a_transaction(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", TABLES) as store:
        things = store.table("things")

        def write(txn: Transaction) -> int:
            things.put(txn, b"k", b"v")
            return txn.id()

        together = await asyncio.gather(*(store.write(write) for _ in range(20)))
        alone = await store.write(write)
    assert len(set(together)) == 1
    assert alone == together[0] + 1


async def test_a_write_that_gathers_waits_for_others_and_shares_their_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "GATHER_SECONDS", 3600.0)
    async with store_in(tmp_path / "store", TABLES) as store:
        things = store.table("things")

        def write(txn: Transaction) -> int:
            things.put(txn, b"k", b"v")
            return txn.id()

        gathering = [store.write(write, gathers=True) for _ in range(2)]
        await _until_idle(store)
        assert not any(one.done() for one in gathering)
        at_once = await store.write(write)
        assert [await one for one in gathering] == [at_once, at_once]
        last = store.write(_put(things, b"last"), gathers=True)
    await last
    async with store_in(tmp_path / "store", TABLES) as store:
        assert b"last" in _keys(store)


async def test_a_write_that_gathers_waits_a_moment_only(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", TABLES) as store:
        await store.write(_put(store.table("things"), b"k"), gathers=True)
        assert _keys(store) == [b"k"]


async def _until_idle(store: Store) -> None:
    """Wait until the writer has done all that it was given."""
    loop, idle = asyncio.get_running_loop(), asyncio.Event()

    def tell(_txn: Transaction) -> bool:
        loop.call_soon_threadsafe(idle.set)
        return False

    await asyncio.sleep(0)
    store.write_idle(tell)
    await idle.wait()


async def test_operations_run_in_order_on_one_other_thread(tmp_path: Path) -> None:
    ran: list[tuple[int, int]] = []
    async with store_in(tmp_path / "store", TABLES) as store:
        writes = [store.write(lambda txn, n=n: ran.append((n, threading.get_ident()))) for n in range(50)]
        await asyncio.gather(*writes)
    assert [n for n, _ in ran] == list(range(50))
    threads = {thread for _, thread in ran}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


async def test_a_failing_operation_hurts_nobody(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", TABLES) as store:
        things = store.table("things")

        def fail(txn: Transaction) -> None:
            things.put(txn, b"half done", b"v")
            raise NotFoundError("NOT_THERE", "It is not there.")

        writes = [
            store.write(_put(things, b"before")),
            store.write(fail),
            store.write(_put(things, b"after")),
        ]
        before, failed, after = await asyncio.gather(*writes, return_exceptions=True)
        assert (before, after) == (None, None)
        assert isinstance(failed, NotFoundError)
        assert _keys(store) == [b"after", b"before"]


async def test_a_defect_in_an_operation_reaches_its_caller_and_the_writer_lives(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", TABLES) as store:
        with pytest.raises(ZeroDivisionError):
            await store.write(lambda txn: 1 // 0)
        assert await store.write(lambda txn: 7) == 7


async def test_a_writer_that_dies_leaves_nobody_waiting(tmp_path: Path) -> None:
    def die(txn: Transaction) -> None:
        raise SystemExit

    async with store_in(tmp_path / "store", TABLES) as store:
        writes = [store.write(die), store.write(_put(store.table("things"), b"k"))]
        failed = await asyncio.gather(*writes, return_exceptions=True)
        assert [getattr(error, "reason", None) for error in failed] == ["STORE_FAILED", "STORE_FAILED"]
        with pytest.raises(UnavailableError) as refused:
            await store.write(lambda txn: None)
        assert refused.value.reason == "STORE_FAILED"
        assert _keys(store) == [], "reading goes on"


async def test_submitted_writes_are_carried_out_though_nobody_waits(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", TABLES) as store:
        store.write(_put(store.table("things"), b"k")).cancel()
        await store.write(lambda txn: None)
        assert _keys(store) == [b"k"]


async def test_the_close_carries_out_what_waits(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", TABLES) as store:
        waiting = [store.write(_put(store.table("things"), b"%04d" % n)) for n in range(1000)]
    await asyncio.gather(*waiting)
    async with store_in(tmp_path / "store", TABLES) as store:
        assert len(_keys(store)) == 1000


async def test_after_the_close_calls_say_that_the_daemon_stops(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", TABLES) as store:
        pass
    with pytest.raises(UnavailableError, match="restarted"):
        store.write(lambda txn: None)
    with pytest.raises(UnavailableError, match="restarted"), store.read():
        pass


async def test_idle_work_goes_on_until_it_is_done_and_lets_writes_pass(tmp_path: Path) -> None:
    passed = threading.Event()
    steps: list[bool] = []
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with store_in(tmp_path / "store", TABLES) as store:

        def step(txn: Transaction) -> bool:
            steps.append(passed.is_set())
            if passed.is_set():
                loop.call_soon_threadsafe(over.set)
            return not passed.is_set()

        store.write_idle(step)
        await store.write(lambda txn: None)
        passed.set()
        await over.wait()
    assert steps[-1]
    assert steps.count(True) == 1


async def test_failing_idle_work_is_logged_and_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ran = asyncio.Event()
    loop = asyncio.get_running_loop()

    def fail(txn: Transaction) -> bool:
        raise DataLossError("RECORD_DAMAGED", "It is damaged.")

    def other(txn: Transaction) -> bool:
        loop.call_soon_threadsafe(ran.set)
        return False

    async with store_in(tmp_path / "store", TABLES) as store:
        store.write_idle(fail)
        store.write_idle(other)
        await ran.wait()
    assert "housekeeping" in caplog.text


async def test_a_full_map_is_told_and_what_was_there_can_be_read(tmp_path: Path) -> None:
    async with store_in(tmp_path / "store", TABLES, map_size=1 << 20) as store:
        things = store.table("things")
        await store.write(_put(things, b"k"))
        with pytest.raises(ResourceExhaustedError, match="map_size_gib") as caught:
            await store.write(lambda txn: things.put(txn, b"large", b"x" * (2 << 20)))
        assert caught.value.reason == "STORE_FULL"
        assert _keys(store) == [b"k"]
        await store.write(_put(things, b"small"))
        assert _keys(store) == [b"k", b"small"]


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (lmdb.DiskError("No space left on device"), ResourceExhaustedError, "DISK_FULL"),
        (lmdb.CorruptedError("mdb_get"), DataLossError, "STORE_DAMAGED"),
        (lmdb.PanicError("mdb_txn_begin"), UnavailableError, "STORE_FAILED"),
        (OSError(5, "Input/output error"), UnavailableError, "STORE_FAILED"),
    ],
)
def test_errors_of_the_disk_are_told_in_our_words(
    error: Exception, kind: type[OblixdError], reason: str
) -> None:
    told = translate(error)
    assert isinstance(told, kind)
    assert told.reason == reason


_DROP = """
import lmdb, sys
environment = lmdb.open(sys.argv[1], max_dbs=8)
with environment.begin(write=True) as txn:
    txn.drop(environment.open_db(b"things", txn=txn, create=False))
"""


@pytest.mark.parametrize("is_read_first", [True, False])
async def test_a_table_that_is_gone_ends_the_use_of_the_file(tmp_path: Path, is_read_first: bool) -> None:
    """The daemon ends then, and the next one looks at the file before it opens it."""
    async with store_in(tmp_path / "store", TABLES) as store:
        await store.write(_put(store.table("things"), b"k"))
        words = [sys.executable, "-c", _DROP, str(tmp_path / "store")]
        await asyncio.to_thread(subprocess.run, words, check=True)
        for is_read in (is_read_first, not is_read_first):
            with pytest.raises(UnavailableError) as caught:
                _keys(store) if is_read else await store.write(_put(store.table("things"), b"more"))
            assert caught.value.reason == "STORE_FAILED"
            assert store.failure is not None
