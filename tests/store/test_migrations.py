"""Migrations, by a chain made for these tests: each value of `things` is doubled, then moved to `moved`."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from support.drivers.conversations import MAP_SIZE

from oblixd.errors import FailedPreconditionError, InternalError
from oblixd.store import Store, Table, Transaction, schema
from oblixd.store.migrations import CHAIN, Migration, Tables

TABLES = ("things", "moved")
COUNT = 100
AT_ONCE = 7


def _some(table: Table, txn: Transaction, after: bytes) -> list[tuple[bytes, bytes]]:
    return list(islice(table.scan(txn, b"", after + b"\0" if after else b""), AT_ONCE))


def double(txn: Transaction, tables: Tables, progress: bytes) -> bytes | None:
    """Done twice to one value it would be seen."""
    things = tables("things")
    found = _some(things, txn, progress)
    things.put_all(txn, [(key, value * 2) for key, value in found])
    return found[-1][0] if found else None


def move(txn: Transaction, tables: Tables, progress: bytes) -> bytes | None:
    things, moved = tables("things"), tables("moved")
    found = _some(things, txn, b"")
    moved.put_all(txn, found)
    for key, _ in found:
        things.delete(txn, key)
    return b"more" if found else None


FAKE = (Migration(2, "doubles", double), Migration(3, "moves", move))


@pytest.fixture
async def old_store(tmp_path: Path) -> Path:
    """A closed store of schema 1."""
    store = await Store.open(tmp_path / "store", TABLES, map_size=MAP_SIZE, migrations=())
    items = [(b"%03d" % number, b"%03d" % number) for number in range(COUNT)]
    await store.write(lambda txn: store.table("things").put_all(txn, items))
    await store.close()
    return tmp_path / "store"


async def _content(directory: Path, chain: tuple[Migration, ...]) -> dict[str, dict[bytes, bytes]]:
    store = await Store.open(directory, TABLES, map_size=MAP_SIZE, migrations=chain)
    try:
        with store.read() as txn:
            return {name: dict(store.table(name).scan(txn, b"")) for name in TABLES}
    finally:
        await store.close()


def _migrate(table: str) -> dict[str, dict[bytes, bytes]]:
    doubled = {b"%03d" % number: b"%03d%03d" % (number, number) for number in range(COUNT)}
    return {name: doubled if name == table else {} for name in TABLES}


def test_the_chain_counts_from_the_first_schema() -> None:
    assert [migration.to for migration in CHAIN] == list(range(2, schema.VERSION + 1))


async def test_an_old_store_goes_through_every_step_once(old_store: Path) -> None:
    assert await _content(old_store, FAKE[:1]) == _migrate("things")
    for _ in range(2):
        assert await _content(old_store, FAKE) == _migrate("moved")


async def test_a_new_store_begins_with_the_newest_schema(tmp_path: Path) -> None:
    await _content(tmp_path, FAKE)
    with pytest.raises(FailedPreconditionError, match="schema 3"):
        await _content(tmp_path, FAKE[:1])


async def test_an_older_daemon_refuses_what_is_half_new(old_store: Path) -> None:
    with pytest.raises(InternalError):
        await _content(old_store, (_failing_after(3),))
    with pytest.raises(FailedPreconditionError, match="schema 2") as caught:
        await _content(old_store, ())
    assert caught.value.reason == "SCHEMA_TOO_NEW"


async def test_a_step_that_fails_is_taken_again_from_where_it_was(old_store: Path) -> None:
    for steps in (1, 4, 2):
        with pytest.raises(InternalError):
            await _content(old_store, (_failing_after(steps), FAKE[1]))
    assert await _content(old_store, FAKE) == _migrate("moved")


def _failing_after(steps: int) -> Migration:
    left = iter(range(steps))

    def step(txn: Transaction, tables: Tables, progress: bytes) -> bytes | None:
        result = double(txn, tables, progress)
        if next(left, None) is None:
            raise InternalError("BROKEN", "The step fails after it has written.")
        return result

    return Migration(2, "fails", step)


@pytest.mark.parametrize("steps", [1, 9, 15, 16, 25])
async def test_a_kill_half_way_loses_and_repeats_nothing(old_store: Path, steps: int) -> None:
    _kill_in_step(old_store, steps)
    assert await _content(old_store, FAKE) == _migrate("moved")


def _kill_in_step(directory: Path, number: int) -> None:
    """The child says when it is in the middle of the step, and waits there to be killed."""
    here = Path(__file__).parent
    code = f"import sys; sys.path += [{str(here)!r}, {str(here.parent)!r}]\n{_CHILD}"
    words = [sys.executable, "-c", code, str(directory), str(number)]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child:
        assert child.stdout.readline() == "now\n"
        child.kill()


_CHILD = """
import asyncio, dataclasses, signal
from pathlib import Path
from test_migrations import FAKE, MAP_SIZE, TABLES, Store

left = iter(range(int(sys.argv[2])))

def waiting(migration):
    def step(*given):
        result = migration.step(*given)
        if next(left, None) is None:
            print("now", flush=True)
            signal.pause()
        return result
    return dataclasses.replace(migration, step=step)

asyncio.run(Store.open(Path(sys.argv[1]), TABLES, map_size=MAP_SIZE, migrations=[waiting(m) for m in FAKE]))
"""
