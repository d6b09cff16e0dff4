"""Looking through a store: what is damaged is found and named, and what is sound is called so."""

from __future__ import annotations

import asyncio
import faulthandler
import itertools
import multiprocessing
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import Session
from support.drivers.conversations import say, sessions_in, struct

from oblixd.sessions.fsck import Problem, problems
from oblixd.store import offline, schema
from oblixd.store.datafile.forked_reader import ForkedReader
from oblixd.store.inspection import DATA_FILE
from oblixd.store.v1 import records_pb2 as records

PAGE = 4096
Content = dict[str, list[tuple[bytes, bytes]]]


@pytest.fixture(scope="module")
def sound_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store with a bit of everything: a large message, a running turn, a deleted session."""
    directory = tmp_path_factory.mktemp("sound")
    asyncio.run(_fill(directory))
    return directory / DATA_FILE


@pytest.fixture(scope="module", autouse=True)
def _grpc_keeps_its_descriptors() -> Iterator[None]:
    """Leave the descriptors open in a reader's child.

    Other tests leave gRPC running in this process. It starts its poller again after a fork, and aborts the
    child where the poller's descriptors are closed. `oblixd fsck`, which has no gRPC, is tested as a process.
    """
    with pytest.MonkeyPatch.context() as patch:
        # In their place the child lets go of what prints a crash: here it is expected.
        patch.setattr(os, "closerange", lambda *_: faulthandler.disable())
        yield


async def _fill(directory: Path) -> None:
    async with sessions_in(directory) as sessions:
        made = [
            await sessions.create(Session(id="", title=f"title {n}", metadata=struct(even=not n % 2, a="b")))
            for n in range(6)
        ]
        for session in made:
            await sessions.append(session.id, [say(f"{session.title} says {n} " * 20) for n in range(25)])
        await sessions.append(made[0].id, [say("large" * PAGE)])
        await sessions.update(Session(id=made[1].id, archived=True), ["archived"])
        await sessions.delete(made[2].id)
        turn = await sessions.begin_turn(made[3].id, "request", [say("question")])
        await turn.checkpoint([messages_pb2.Part(text="a part")])


def _check(path: Path) -> tuple[list[Problem], str]:
    reader = ForkedReader(partial(problems, path))
    return list(reader), reader.death


def _content(path: Path) -> Content:
    with offline.open_file(path) as file:
        return {name: list(table.scan(file.txn, b"")) for name, table in file.tables.items()}


def _is_found_or_harmless(path: Path, before: Content) -> tuple[bool, bool]:
    """Whether the damage is told, and whether it is or all can be read as it was."""

    def work() -> Iterator[bool]:
        yield bool(list(problems(path)))
        yield _content(path) == before

    reader = ForkedReader(work)
    verdict = list(reader)
    is_told = bool(reader.death) or verdict[0]
    return is_told, is_told or verdict[1]


def test_a_sound_store_has_no_problem(sound_store: Path) -> None:
    assert _check(sound_store) == ([], "")


def _places(content: bytes) -> list[int]:
    """A few places in every kind of page, always the same ones."""
    chosen = random.Random(7)
    starts = range(0, len(content), PAGE)
    return [start + place for start in starts for place in (12, chosen.randrange(PAGE))]


def test_no_flipped_byte_crashes_or_changes_what_is_called_sound(sound_store: Path, tmp_path: Path) -> None:
    """Half of a file's bytes are free space: flipped there they harm nobody, and nothing is to be found."""
    content, before, told = sound_store.read_bytes(), _content(sound_store), 0
    path, left = tmp_path / "flipped", _places(sound_store.read_bytes())

    def work(places: list[int]) -> Iterator[tuple[bool, bool]]:
        for place in places:
            flipped = bytearray(content)
            flipped[place] ^= 0x40
            path.write_bytes(flipped)
            is_told = bool(list(problems(path)))
            yield is_told, is_told or _content(path) == before

    while left:  # one child reads as many as it survives
        reader = ForkedReader(partial(work, left))
        verdicts = [*reader, *([(True, True)] if reader.death else [])]
        assert all(is_fine for _, is_fine in verdicts), list(zip(left, verdicts, strict=False))
        told += sum(is_told for is_told, _ in verdicts)
        left = left[len(verdicts) :]
    assert told > 20


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_bytes_that_are_overwritten_are_found_or_do_no_harm(
    sound_store: Path, data: st.DataObject
) -> None:
    content = bytearray(sound_store.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    noise = data.draw(st.binary(min_size=1, max_size=64))
    content[place : place + len(noise)] = noise
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "noise")
        path.write_bytes(content)
        assert _is_found_or_harmless(path, _content(sound_store))[1]


@pytest.mark.parametrize("page", [0, 1])
def test_a_transaction_s_number_that_was_overwritten_is_found(
    sound_store: Path, tmp_path: Path, page: int
) -> None:
    content = bytearray(sound_store.read_bytes())
    content[page * PAGE + 145] ^= 0x01
    (tmp_path / "ahead").write_bytes(content)
    assert _is_found_or_harmless(tmp_path / "ahead", _content(sound_store)) == (True, True)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_file_that_was_cut_short_is_found(sound_store: Path, tmp_path: Path, share: float) -> None:
    path = tmp_path / "cut"
    path.write_bytes(sound_store.read_bytes())
    os.truncate(path, int(path.stat().st_size * share))
    found, death = _check(path)
    assert death or not all(problem.is_bearable for problem in found)


@pytest.mark.parametrize("content", [b"x", b"not a store" * PAGE, b"\0" * 3 * PAGE])
def test_a_foreign_file_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "foreign").write_bytes(content)
    (problem,), death = _check(tmp_path / "foreign")
    assert (problem.session_id, problem.is_bearable, death) == ("", False, "")


Operation = Callable[[offline.File], None]


def _check_changed(sound_store: Path, path: Path, operation: Operation) -> list[Problem]:
    path.write_bytes(sound_store.read_bytes())
    offline.change(path, operation)
    found, death = _check(path)
    assert not death
    return found


def _some_key(file: offline.File, table: str, place: int = 0) -> bytes:
    return list(file.tables[table].survey(file.txn))[place][0]


def _drop(table: str) -> Operation:
    return lambda file: file.tables[table].delete(file.txn, _some_key(file, table)) and None


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("ids", "it is not found in ids"),
        ("recency", "it is not found in recency"),
        ("labels", "it is not found in labels"),
        ("progress", "its progress record is missing"),
        ("messages", "messages and counts"),
        ("deleted_ids", "it is not found in deleted_ids"),
        ("running", "it is not found in running"),
    ],
)
def test_missing_records_are_reported_for_their_session(
    sound_store: Path, tmp_path: Path, table: str, told: str
) -> None:
    found = _check_changed(sound_store, tmp_path / "changed", _drop(table))
    named = {problem.session_id for problem in found if told in problem.what}
    assert len(named) == 1
    assert named <= _ids(sound_store)


def _ids(path: Path) -> set[str]:
    content = _content(path)
    return {key.decode() for table in ("ids", "deleted_ids") for key, _ in content[table]}


@pytest.mark.parametrize("table", ["ids", "progress", "recency", "labels", "running", "messages", "pieces"])
def test_records_without_a_session_are_reported(sound_store: Path, tmp_path: Path, table: str) -> None:
    def stray(file: offline.File) -> None:
        file.tables[table].put(file.txn, b"\xfe" * 24, b"\xfe" * 8)

    told = f"1 records of {table} belong to no session"
    assert told in [problem.what for problem in _check_changed(sound_store, tmp_path / "changed", stray)]


def test_a_wrong_count_of_a_label_is_told(sound_store: Path, tmp_path: Path) -> None:
    def miscount(file: offline.File) -> None:
        file.tables["label_counts"].put(file.txn, _some_key(file, "label_counts"), (99).to_bytes(8, "big"))

    (problem,) = _check_changed(sound_store, tmp_path / "changed", miscount)
    assert "sessions and counts 99" in problem.what


def test_a_table_that_is_gone_is_told(sound_store: Path, tmp_path: Path) -> None:
    """No checksum is over the names of tables."""
    content = sound_store.read_bytes()
    (tmp_path / "renamed").write_bytes(content.replace(b"changes", b"chances"))
    found, _ = _check(tmp_path / "renamed")
    assert [problem.what for problem in found] == ["the table changes is gone"]


def test_a_number_that_would_be_given_out_again_is_told(sound_store: Path, tmp_path: Path) -> None:
    def forget(file: offline.File) -> None:
        file.tables["counters"].delete(file.txn, b"next_session_number")

    found = _check_changed(sound_store, tmp_path / "changed", forget)
    assert "numbers in sessions would be given out again" in [problem.what for problem in found]


def test_a_newer_schema_is_told(sound_store: Path, tmp_path: Path) -> None:
    newer = records.SchemaRecord(version=schema.VERSION + 1).SerializeToString()
    (problem,) = _check_changed(
        sound_store,
        tmp_path / "newer",
        lambda file: file.tables[schema.TABLE].put(file.txn, schema.KEY, newer),
    )
    assert "newer daemon" in problem.what


def test_a_store_in_the_middle_of_a_migration_is_only_read(sound_store: Path, tmp_path: Path) -> None:
    """Its tables need not agree before its migration is through."""

    def half(file: offline.File) -> None:
        file.tables[schema.TABLE].put(file.txn, schema.PROGRESS, b"half")
        file.tables["ids"].delete(file.txn, _some_key(file, "ids"))

    assert _check_changed(sound_store, tmp_path / "half", half) == []


def test_a_damaged_message_is_told_by_its_place_and_its_session(sound_store: Path, tmp_path: Path) -> None:
    said = b"title 4 says 3 "
    (tmp_path / "hurt").write_bytes(sound_store.read_bytes().replace(said, said.upper()))
    (problem,), _ = _check(tmp_path / "hurt")
    assert problem.what == "message 4 is damaged"
    assert problem.session_id in _ids(sound_store)
    assert problem.is_bearable


def test_a_reader_that_crashes_is_told_and_does_not_crash_us() -> None:
    def crash() -> Iterator[int]:
        yield 1
        os.kill(os.getpid(), 11)

    reader = ForkedReader(crash)
    assert list(reader) == [1]
    assert reader.death == "Segmentation fault"


def test_a_reader_that_is_needed_no_more_ends_and_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    reader = iter(ForkedReader(itertools.count))
    assert [next(reader), next(reader)] == [0, 1]
    before = multiprocessing.active_children()
    reader.close()
    assert (len(before), multiprocessing.active_children()) == (1, [])
    assert capfd.readouterr().err == ""


def test_the_transaction_of_an_unused_file_is_not_needed(tmp_path: Path) -> None:
    """A file that has only been opened is sound."""
    asyncio.run(_open_once(tmp_path))
    assert _check(tmp_path / DATA_FILE) == ([], "")


async def _open_once(directory: Path) -> None:
    async with sessions_in(directory):
        pass
