"""Sequence numbers have no gaps on disk: a number without a record is damage, which every read names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import Session
from support.data import old_stores
from support.drivers.conversations import all_messages, all_sessions, say, struct, texts

from oblixd.errors import DataLossError
from oblixd.sessions import Sessions
from oblixd.sessions.fsck import problems
from oblixd.sessions.storage.schema import message_key
from oblixd.store import Transaction, offline
from oblixd.store.inspection import DATA_FILE

COUNT = 8
OLD_STORE = old_stores.FOLDER / "abandoned-turns.schema-2.mdb.gz"


async def _talk(sessions: Sessions) -> str:
    made = await sessions.create(Session(title="talk"))
    await sessions.append(made.id, [say(f"message {n}") for n in range(1, COUNT + 1)])
    return made.id


async def _remove(sessions: Sessions, session_id: str, *sequences: int) -> int:
    db, ref = sessions.db, sessions.db.ref(session_id)

    def write(txn: Transaction) -> int:
        progress = db.headers.progress(txn, ref)
        removed = db.message_table.remove(txn, ref.number, progress, sequences)
        db.headers.touch(txn, ref, progress, db.clock())
        return removed

    return await db.write(ref, write)


async def _lose(sessions: Sessions, session_id: str, sequence: int) -> None:
    """Take a record away as damage does."""
    db = sessions.db
    key = message_key(db.ref(session_id).number, sequence)
    assert await db.store.write(lambda txn: db.tables.messages.delete(txn, key))


def _list_texts(sessions: Sessions, session_id: str, *, newest_first: bool, page_size: int = 3) -> list[str]:
    found: list[str] = []
    token = ""
    while True:
        page, token = sessions.messages(
            session_id, page_size=page_size, page_token=token, newest_first=newest_first
        )
        found += texts(page)
        if not token:
            return found


async def _export_texts(sessions: Sessions, session_id: str) -> list[str]:
    return [
        text async for item in sessions.export([session_id]) for text in texts(list(item.messages.messages))
    ]


async def _copy_texts(sessions: Sessions, session_id: str) -> list[str]:
    return texts(all_messages(sessions, (await sessions.copy(session_id, None)).id))


async def _merge_texts(sessions: Sessions, session_id: str) -> list[str]:
    return texts(all_messages(sessions, (await sessions.merge([session_id], None)).id))


async def _forwards(sessions: Sessions, session_id: str) -> list[str]:
    return _list_texts(sessions, session_id, newest_first=False)


async def _backwards(sessions: Sessions, session_id: str) -> list[str]:
    return _list_texts(sessions, session_id, newest_first=True)[::-1]


async def _context(sessions: Sessions, session_id: str) -> list[str]:
    turn = await sessions.begin_turn(session_id, "request", [say("question")])
    return texts(list(sessions.history(session_id, turn.answer_sequence - 1)))[::-1]


READS: list[Callable[[Sessions, str], Awaitable[list[str]]]] = [
    _forwards,
    _backwards,
    _context,
    _export_texts,
    _copy_texts,
    _merge_texts,
]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("lost", [1, 4, COUNT])
async def test_a_missing_message_is_named_by_every_read(sessions: Sessions, read: Any, lost: int) -> None:
    session_id = await _talk(sessions)
    await _lose(sessions, session_id, lost)
    count = sessions.count()
    with pytest.raises(DataLossError, match=f"^Message {lost} of session {session_id} .*missing") as caught:
        await read(sessions, session_id)
    assert caught.value.reason == "RECORD_DAMAGED"
    assert sessions.count() == count


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("removed", [(1,), (4, 5), (COUNT - 1, COUNT), tuple(range(1, COUNT + 1))])
async def test_a_removed_message_is_passed_over(
    sessions: Sessions, read: Any, removed: tuple[int, ...]
) -> None:
    session_id = await _talk(sessions)
    assert await _remove(sessions, session_id, *removed) == len(removed)
    assert await _remove(sessions, session_id, *removed) == 0
    assert sessions.get(session_id).message_count == COUNT - len(removed)
    left = [f"message {n}" for n in range(1, COUNT + 1) if n not in removed]
    assert await read(sessions, session_id) == left
    (said,) = await sessions.append(session_id, [say("more")])
    assert said.sequence > COUNT


async def test_removing_what_is_missing_mends_the_session(sessions: Sessions, tmp_path: Path) -> None:
    session_id = await _talk(sessions)
    await _lose(sessions, session_id, 3)
    assert await _remove(sessions, session_id, 3) == 1
    assert len(await _forwards(sessions, session_id)) == COUNT - 1 == sessions.get(session_id).message_count


async def test_an_acknowledged_message_is_never_overwritten(sessions: Sessions) -> None:
    session_id = await _talk(sessions)
    db, ref = sessions.db, sessions.db.ref(session_id)

    def step_back(txn: Transaction) -> None:
        progress = db.headers.progress(txn, ref)
        progress.next_sequence -= 2
        db.headers.put_progress(txn, ref, progress)

    await db.store.write(step_back)
    with pytest.raises(DataLossError, match=f"^Message {COUNT - 1} .*where none may be"):
        await sessions.append(session_id, [say("over it")])
    for read in (_forwards, _backwards, _export_texts):
        with pytest.raises(DataLossError, match="where none may be"):
            await read(sessions, session_id)


async def test_an_abandoned_turn_leaves_a_tombstone(sessions: Sessions) -> None:
    session_id = await _talk(sessions)
    turn = await sessions.begin_turn(session_id, "request", [say("question")])
    # Its number is reserved while it runs, and nothing stands there yet.
    assert len(await _forwards(sessions, session_id)) == COUNT + 1
    await sessions.append(session_id, [say("meanwhile")])
    assert len(await _export_texts(sessions, session_id)) == COUNT + 2
    await turn.checkpoint([messages_pb2.Part(text="a part")])
    await turn.restart()
    assert len(await _backwards(sessions, session_id)) == COUNT + 2
    await turn.abandon()
    assert len(await _forwards(sessions, session_id)) == COUNT + 2
    found = sessions.recorded_turn("request")
    assert found
    assert found.answer is None


async def test_a_missing_answer_is_not_told_as_none(sessions: Sessions) -> None:
    session_id = await _talk(sessions)
    turn = await sessions.begin_turn(session_id, "request", [say("question")])
    await turn.finish(messages_pb2.Message(parts=[messages_pb2.Part(text="answer")]))
    await _lose(sessions, session_id, turn.answer_sequence)
    with pytest.raises(DataLossError, match=f"^Message {turn.answer_sequence} .*missing"):
        sessions.recorded_turn("request")


async def test_a_session_that_is_found_and_has_no_record_is_damage(sessions: Sessions) -> None:
    session_id = await _talk(sessions)
    db = sessions.db
    key = message_key(db.ref(session_id).number, 0)[:8]
    await db.store.write(lambda txn: db.tables.progress.delete(txn, key))
    with pytest.raises(DataLossError, match=f"^Session {session_id} .*in progress, the record is missing"):
        sessions.get(session_id)


async def test_an_older_store_gets_its_tombstones(tmp_path: Path) -> None:
    old_stores.unpack(OLD_STORE, tmp_path / "store")
    async with old_stores.open_sessions(tmp_path / "store") as sessions:
        found = {session.title: session for session in all_sessions(sessions)}
        assert await _forwards(sessions, found["Abandoned turns"].id) == [
            "question 0",
            "question 1",
            "between",
            "question 2",
            "answer",
        ]
        assert await _forwards(sessions, found["Running"].id) == ["question 4", ""]
        (deleted,), _ = sessions.list(page_size=0, page_token="", filter=struct(), deleted=True)
        await sessions.undelete(deleted.id)
        assert await _export_texts(sessions, deleted.id) == ["question 3"]
    assert list(problems(tmp_path / "store" / DATA_FILE)) == []


async def test_damage_in_an_older_store_does_not_become_tombstones(tmp_path: Path) -> None:
    old_stores.unpack(OLD_STORE, tmp_path / "store")

    def lose(file: offline.File) -> None:
        messages = file.tables["messages"]
        assert messages.delete(file.txn, next(iter(messages.keys(file.txn, b""))))

    offline.change(tmp_path / "store" / DATA_FILE, lose)
    async with old_stores.open_sessions(tmp_path / "store") as sessions:
        hurt, well = (
            next(session.id for session in all_sessions(sessions) if session.title == title)
            for title in ("Abandoned turns", "Running")
        )
        with pytest.raises(DataLossError, match=f"^Message 1 of session {hurt}"):
            await _forwards(sessions, hurt)
        assert await _forwards(sessions, well) == ["question 4", ""]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("payload", [b"\xff\xff", b"\x0a\x03s\xff\xfe"], ids=["no record", "no text"])
async def test_a_record_that_is_none_is_named_although_its_checksum_holds(
    sessions: Sessions, read: Any, payload: bytes
) -> None:
    session_id = await _talk(sessions)
    db = sessions.db
    key = message_key(db.ref(session_id).number, 3)
    await db.store.write(lambda txn: db.tables.messages.put(txn, key, payload))
    with pytest.raises(DataLossError) as caught:
        await read(sessions, session_id)
    assert caught.value.reason == "RECORD_DAMAGED"
