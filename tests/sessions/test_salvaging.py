"""Salvaging: what is whole comes back as it was, and what is not is named and refused."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.struct_pb2 import Struct
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import DamagedSession, Session
from support.drivers.conversations import all_messages, all_sessions, say, sessions_in, struct, texts
from support.faults.small_disk import fill, small_disk

from oblixd.errors import DataLossError, ResourceExhaustedError, UnavailableError
from oblixd.sessions.fsck import problems
from oblixd.sessions.salvaging import Salvage, salvage
from oblixd.store import offline
from oblixd.store.inspection import DATA_FILE
from oblixd.usage import TABLE_NAMES as USAGE_TABLES

PAGE = 4096
SESSIONS = 12
MESSAGES = 15

Truth = dict[str, list[str]]


@pytest.fixture(scope="module")
def sound_store(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Truth]:
    """A store's file, and the texts of its sessions; one is deleted, and one has a turn that runs."""
    directory = tmp_path_factory.mktemp("sound")
    truth = asyncio.run(_fill(directory))
    return (directory / DATA_FILE).read_bytes(), truth


async def _fill(directory: Path) -> Truth:
    async with sessions_in(directory) as sessions:
        ids = [
            (await sessions.create(Session(title=f"{n}", metadata=struct(n=n, even=n % 2 == 0)))).id
            for n in range(SESSIONS)
        ]
        for n in range(MESSAGES):
            for session_id in ids:
                await sessions.append(session_id, [say(f"{session_id} says {n} " * 8)])
        gone = (await sessions.create(Session(title="gone"))).id
        await sessions.delete(gone)
        turn = await sessions.begin_turn(ids[0], "request", [say("question")])
        await turn.checkpoint([messages_pb2.Part(text="a part")])
        return {session_id: texts(all_messages(sessions, session_id)) for session_id in ids}


def _salvage(directory: Path, content: bytes) -> Salvage:
    (directory / "store").mkdir()
    (directory / "store" / DATA_FILE).write_bytes(content)
    return salvage(directory / "store", directory / "kept", USAGE_TABLES)


def _without(content: bytes, path: Path, lose: Callable[[offline.File], None]) -> bytes:
    path.write_bytes(content)
    offline.change(path, lose)
    return path.read_bytes()


def _lose_all(table: str) -> Callable[[offline.File], None]:
    return lambda file: file.tables[table].clear(file.txn)


async def _whole_sessions(directory: Path, truth: Truth) -> set[str]:
    """The sessions that are whole; the others are refused as damaged by every read, and listed as that."""
    whole: set[str] = set()
    async with sessions_in(directory / "store") as sessions:
        damaged: list[DamagedSession] = []
        found, _ = sessions.list(page_size=0, page_token="", filter=Struct(), damaged=damaged)
        assert {session.id for session in found} | {one.session_id for one in damaged} == set(truth)
        for session_id, expected in truth.items():
            try:
                assert texts(all_messages(sessions, session_id)) == expected
                assert sessions.get(session_id).metadata.fields
                whole.add(session_id)
            except DataLossError:
                with pytest.raises(DataLossError):
                    await sessions.copy(session_id, None)
    return whole


async def test_a_sound_store_is_the_same_afterwards(sound_store: tuple[bytes, Truth], tmp_path: Path) -> None:
    content, truth = sound_store
    result = _salvage(tmp_path, content)
    assert (result.whole_count, result.problems) == (SESSIONS + 1, [])
    assert (result.damaged_file / DATA_FILE).read_bytes() == content
    assert await _whole_sessions(tmp_path, truth) == set(truth)
    async with sessions_in(tmp_path / "store") as sessions:
        assert len(all_sessions(sessions, even=True)) == SESSIONS // 2
        (gone,), _ = sessions.list(page_size=0, page_token="", filter=Struct(), deleted=True)
        assert (await sessions.undelete(gone.id)).title == "gone"
        recorded = sessions.recorded_turn("request")
        assert recorded is not None
        assert recorded.status == messages_pb2.MESSAGE_STATUS_INTERRUPTED


@pytest.mark.parametrize("index", ["ids", "recency", "labels", "label_counts", "turns", "progress"])
async def test_lost_records_are_rebuilt_from_the_others(
    sound_store: tuple[bytes, Truth], tmp_path: Path, index: str
) -> None:
    content, truth = sound_store
    result = _salvage(tmp_path, _without(content, tmp_path / "draft", _lose_all(index)))
    assert result.problems == []
    assert await _whole_sessions(tmp_path, truth) == set(truth)


async def test_a_session_without_its_header_is_refused_until_it_is_deleted(
    sound_store: tuple[bytes, Truth], tmp_path: Path
) -> None:
    content, truth = sound_store
    result = _salvage(tmp_path, _without(content, tmp_path / "draft", _lose_all("sessions")))
    assert {problem.session_id for problem in result.problems} == set(truth)
    assert result.whole_count == 1
    assert await _whole_sessions(tmp_path, truth) == set()
    async with sessions_in(tmp_path / "store") as sessions:
        for session_id in truth:
            with pytest.raises(DataLossError, match="delete the session"):
                sessions.get(session_id)
            await sessions.delete(session_id)
        assert sessions.count() == 0
    assert list(problems(tmp_path / "store" / DATA_FILE)) == []


async def test_a_progress_record_is_not_made_up_where_messages_may_be_missing(
    sound_store: tuple[bytes, Truth], tmp_path: Path
) -> None:
    content, truth = sound_store

    def lose(file: offline.File) -> None:
        file.tables["progress"].clear(file.txn)

    changed = _without(content, tmp_path / "draft", lose)
    damaged_message = next(iter(truth.values()))[3].encode()
    result = _salvage(tmp_path, changed.replace(damaged_message, damaged_message.upper()))
    assert {problem.session_id for problem in result.problems} >= set(truth)
    assert await _whole_sessions(tmp_path, truth) == set()


@pytest.mark.parametrize("seed", range(12))
async def test_no_lost_page_shortens_a_session_silently(
    sound_store: tuple[bytes, Truth], tmp_path: Path, seed: int
) -> None:
    content, truth = sound_store
    page = random.Random(seed).randrange(2, len(content) // PAGE)
    harmed = content[: page * PAGE] + bytes(PAGE) + content[(page + 1) * PAGE :]
    try:
        result = _salvage(tmp_path, harmed)
    except DataLossError:
        assert "saved" in str(_salvage_error(tmp_path))
        return
    named = {problem.session_id for problem in result.problems}
    assert set(truth) - await _whole_sessions(tmp_path, truth) <= named


def test_without_room_nothing_is_changed(sound_store: tuple[bytes, Truth], tmp_path: Path) -> None:
    content, _ = sound_store
    with small_disk(tmp_path / "disk", 4) as disk:
        (disk / "store").mkdir()
        (disk / "store" / DATA_FILE).write_bytes(content)
        fill(disk, leave=2**16)
        with pytest.raises((ResourceExhaustedError, UnavailableError)):
            salvage(disk / "store", disk / "kept", USAGE_TABLES)
        assert (disk / "store" / DATA_FILE).read_bytes() == content
        assert [path.name for path in (disk / "store").iterdir()] == [DATA_FILE]


def _salvage_error(directory: Path) -> DataLossError:
    with pytest.raises(DataLossError) as caught:
        salvage(directory / "store", directory / "kept", USAGE_TABLES)
    return caught.value
