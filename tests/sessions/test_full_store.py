"""A full store: what it advises is true. Deleting works, and gives room at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
from google.protobuf.struct_pb2 import Struct
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import Session
from support.drivers.conversations import all_messages, say, store_in, texts
from support.faults.small_disk import fill, small_disk

from oblixd.errors import FailedPreconditionError, NotFoundError, ResourceExhaustedError
from oblixd.sessions import Sessions, retention
from oblixd.sessions.retention import once
from oblixd.sessions.storage.retention_rules import DEFAULT
from oblixd.sessions.turns import interrupt

MAP_SIZE = 4 * 2**20
TEXT = "word " * 400


@pytest.fixture
async def sessions(tmp_path: Path) -> AsyncIterator[Sessions]:
    async with store_in(tmp_path / "store", map_size=MAP_SIZE) as store:
        sessions = Sessions(store)
        await sessions.recover()
        yield sessions


async def _fill(sessions: Sessions) -> list[str]:
    """Sessions of twenty messages until nothing fits any more."""
    ids: list[str] = []
    with pytest.raises(ResourceExhaustedError, match="Delete sessions") as caught:
        await _talk(sessions, ids)
    assert caught.value.reason == "STORE_FULL"
    return ids


async def _talk(sessions: Sessions, ids: list[str]) -> None:
    while True:
        ids.append((await sessions.create(Session(title="talk"))).id)
        await sessions.append(ids[-1], [say(TEXT) for _ in range(20)])


async def _append_until_full(sessions: Sessions, session_id: str, size: int) -> ResourceExhaustedError:
    while True:
        try:
            await sessions.append(session_id, [say("x" * size)])
        except ResourceExhaustedError as error:
            return error


async def test_every_session_of_a_full_store_can_be_deleted(sessions: Sessions) -> None:
    ids = await _fill(sessions)
    assert len(ids) > 20
    for session_id in ids:
        await sessions.delete(session_id)
    assert sessions.count() == 0
    assert await _fill(sessions)


async def test_deleting_gives_room_at_once(sessions: Sessions) -> None:
    ids = await _fill(sessions)
    for session_id in ids[:5]:
        await sessions.delete(session_id)
    for session_id in ids[5:8]:
        await sessions.append(session_id, [say(TEXT) for _ in range(10)])
    assert len(all_messages(sessions, ids[5])) == 30


async def test_the_longest_deleted_go_first_and_no_more_than_have_to(sessions: Sessions) -> None:
    ids = await _fill(sessions)
    for session_id in ids[:25]:
        await sessions.delete(session_id)
    kept, _ = sessions.list(page_size=0, page_token="", filter=Struct(), deleted=True)
    assert kept
    assert ids[24] in {session.id for session in kept}
    with pytest.raises(NotFoundError):
        await sessions.undelete(ids[0])
    await sessions.undelete(ids[24])
    assert len(all_messages(sessions, ids[24])) == 20


async def test_deleted_sessions_are_purged_when_room_is_needed(sessions: Sessions) -> None:
    early = [(await sessions.create(Session())).id for _ in range(5)]
    for session_id in early:
        await sessions.append(session_id, [say(TEXT) for _ in range(60)])
        await sessions.delete(session_id)
    ids = await _fill(sessions)
    await once(sessions.db, DEFAULT)
    await sessions.append(ids[0], [say(TEXT) for _ in range(20)])
    assert sessions.list(page_size=0, page_token="", filter=Struct(), deleted=True)[0] == []


async def test_a_turn_ends_in_a_full_store(sessions: Sessions) -> None:
    session_id = (await sessions.create(Session())).id
    turn = await sessions.begin_turn(session_id, "request", [say("question")])
    await turn.checkpoint([messages_pb2.Part(text="a part")])
    await _fill(sessions)
    await turn.finish(messages_pb2.Message(parts=[messages_pb2.Part(text="a part of an answer")]))
    assert sessions.get(session_id).running_request_id == ""


async def test_a_large_message_that_finds_no_room_in_one_piece_is_told(sessions: Sessions) -> None:
    made = (await sessions.create(Session())).id
    await _append_until_full(sessions, made, 9_000)
    # Every second one goes: half of the file is free, in pieces of three pages.
    db, ref = sessions.db, sessions.db.ref(made)
    for sequence in range(2, sessions.get(made).message_count, 2):
        await db.store.write(
            lambda txn, sequence=sequence: db.remove_messages(
                txn, ref, db.headers.progress(txn, ref), [sequence]
            ),
            frees=True,
        )
    error = await _append_until_full(sessions, made, 2**18)
    assert error.reason == "STORE_FRAGMENTED"
    assert "oblixd compact" in error.message


async def test_a_turn_that_was_cut_off_is_ended_once_the_disk_has_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16) as disk:
        async with store_in(disk / "store") as store:
            sessions = Sessions(store)
            await sessions.recover()
            session_id = (await sessions.create(Session())).id
            turn = await sessions.begin_turn(session_id, "request", [say("question")])
            await turn.checkpoint([messages_pb2.Part(text="a part")])
        async with store_in(disk / "store") as store:
            sessions = Sessions(store)
            await _exhaust(sessions, disk)
            assert await sessions.recover() == 1
            assert sessions.get(session_id).running_request_id == "request"
            assert texts(all_messages(sessions, session_id)) == ["question", "a part"]
            (disk / "ballast").unlink()
            changed = asyncio.Event()
            sessions.db.changes.listeners.append(changed.set)
            keeping = asyncio.create_task(sessions.keep_up())
            await changed.wait()
            assert sessions.get(session_id).running_request_id == ""
            keeping.cancel()


@pytest.mark.parametrize("has_answer", [True, False])
async def test_a_turn_whose_end_found_no_room_is_ended_once_the_disk_has_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_answer: bool
) -> None:
    """The session took no other turn until the daemon was started anew."""
    monkeypatch.setattr(retention, "SOON_S", 0.05)
    with small_disk(tmp_path / "disk", 16) as disk:
        async with store_in(disk / "store") as store:
            sessions = Sessions(store)
            await sessions.recover()
            keeping = asyncio.create_task(sessions.keep_up())
            session_id = (await sessions.create(Session())).id
            turn = await sessions.begin_turn(session_id, "request", [say("question")])
            await turn.checkpoint([messages_pb2.Part(text="a part")])
            await _exhaust(sessions, disk)
            answer = messages_pb2.Message(parts=[messages_pb2.Part(text="the whole")])
            with pytest.raises(ResourceExhaustedError):
                await (turn.finish(answer) if has_answer else turn.abandon())
            with pytest.raises(ResourceExhaustedError):
                await sessions.begin_turn(session_id, "another", [say("and now?")])
            changed = asyncio.Event()
            sessions.db.changes.listeners.append(changed.set)
            (disk / "ballast").unlink()
            await changed.wait()
            assert texts(all_messages(sessions, session_id)) == ["question", "a part"]
            await (await sessions.begin_turn(session_id, "another", [say("and now?")])).abandon()
            keeping.cancel()


async def test_a_question_ends_the_turn_before_it_whose_end_found_no_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16) as disk:
        async with store_in(disk / "store") as store:
            sessions = Sessions(store)
            await sessions.recover()
            session_id = (await sessions.create(Session())).id
            turn = await sessions.begin_turn(session_id, "request", [say("question")])
            await turn.checkpoint([messages_pb2.Part(text="a part")])
            await _exhaust(sessions, disk)
            with pytest.raises(ResourceExhaustedError):
                await turn.finish(messages_pb2.Message(parts=[messages_pb2.Part(text="the whole")]))
            (disk / "ballast").unlink()
            next_turn = await sessions.begin_turn(session_id, "another", [say("and now?")])
            with pytest.raises(FailedPreconditionError):
                await sessions.begin_turn(session_id, "a third", [say("and me?")])
            await next_turn.abandon()
            assert texts(all_messages(sessions, session_id)) == ["question", "a part", "and now?"]
            assert all_messages(sessions, session_id)[1].status == messages_pb2.MESSAGE_STATUS_INTERRUPTED


async def test_a_question_ends_the_turn_that_a_crash_cut_off_once_the_disk_has_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16) as disk:
        async with store_in(disk / "store") as store:
            sessions = Sessions(store)
            await sessions.recover()
            session_id = (await sessions.create(Session())).id
            turn = await sessions.begin_turn(session_id, "request", [say("question")])
            await turn.checkpoint([messages_pb2.Part(text="a part")])
        async with store_in(disk / "store") as store:
            sessions = Sessions(store)
            await _exhaust(sessions, disk)
            assert await sessions.recover() == 1
            (disk / "ballast").unlink()
            next_turn = await sessions.begin_turn(session_id, "another", [say("and now?")])
            await interrupt(sessions.db)
            assert sessions.get(session_id).running_request_id == "another"
            await next_turn.abandon()
            assert texts(all_messages(sessions, session_id)) == ["question", "a part", "and now?"]


async def test_a_turn_that_is_noted_while_the_one_before_it_is_ended_stays_noted(sessions: Sessions) -> None:
    """Else its session would take no other turn until the daemon was started anew."""
    session_id = (await sessions.create(Session())).id
    await (await sessions.begin_turn(session_id, "request", [say("question")])).abandon()
    await sessions.begin_turn(session_id, "another", [say("and now?")])
    unfinished, number = sessions.db.unfinished_turns, sessions.db.ref(session_id).number
    unfinished.add(number, "request")
    ending = asyncio.create_task(interrupt(sessions.db))
    await asyncio.sleep(0)
    unfinished.add(number, "another")
    await ending
    assert sessions.get(session_id).running_request_id == "another"
    assert unfinished.includes(number, "another")
    await interrupt(sessions.db)
    assert sessions.get(session_id).running_request_id == ""
    assert unfinished.requests == {}


async def _exhaust(sessions: Sessions, disk: Path) -> None:
    """Fill the disk, and the room that the file has inside."""
    fill(disk)
    with pytest.raises(ResourceExhaustedError):
        await _put_for_ever(sessions)


async def _put_for_ever(sessions: Sessions) -> None:
    db = sessions.db
    for number in count():
        key = b"%09d" % number
        await db.store.write(lambda txn, key=key: db.tables.counters.put(txn, key, bytes(1000)))
