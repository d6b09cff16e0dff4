"""Deleted sessions: unseen, brought back as they were, purged in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.struct_pb2 import Struct
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import (
    ImportHeader,
    ImportSessionsRequest,
    MessageBatch,
    Retention,
    Session,
)
from support.data.clocks import Clock
from support.drivers.conversations import all_messages, all_sessions, say, sessions_in, struct, texts
from support.drivers.sweeping import entries, swept
from support.drivers.waiting import eventually

from oblixd.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from oblixd.sessions import RetentionConfig, Sessions, deletion, retention


async def _rich(sessions: Sessions) -> Session:
    made = await sessions.create(Session(title="T", metadata=struct(kind="a"), local_only=True))
    await sessions.append(made.id, [say("one"), say("two")])
    return await sessions.update(Session(id=made.id, retention=Retention(days=9)), [])


async def test_a_deleted_session_comes_back_as_it_was(tmp_path: Path) -> None:
    async with sessions_in(tmp_path) as sessions:
        before = await _rich(sessions)
        messages = all_messages(sessions, before.id)
        await sessions.delete(before.id)
    async with sessions_in(tmp_path) as sessions:
        assert await sessions.undelete(before.id) == before == sessions.get(before.id)
        assert all_messages(sessions, before.id) == messages
        assert [session.id for session in all_sessions(sessions, kind="a")] == [before.id]
        assert sessions.count() == 1
        await sessions.append(before.id, [say("three")])
        await sessions.delete(before.id)
        assert (await sessions.undelete(before.id)).message_count == 3


async def test_a_deleted_session_is_not_found_by_anything(sessions: Sessions) -> None:
    made = await _rich(sessions)
    turn = await sessions.begin_turn(made.id, "request", [say("question")])
    await sessions.delete(made.id)
    for read in (
        lambda: sessions.get(made.id),
        lambda: sessions.messages(made.id, page_size=0, page_token="", newest_first=False),
        lambda: next(sessions.history(made.id, 3)),
        lambda: sessions.export([made.id]),
    ):
        with pytest.raises(NotFoundError):
            read()
    for write in (
        sessions.append(made.id, [say("x")]),
        sessions.update(Session(id=made.id, title="N"), []),
        sessions.begin_turn(made.id, "again", [say("x")]),
        sessions.copy(made.id, None),
        sessions.merge([made.id], None),
        sessions.delete(made.id),
        turn.checkpoint([messages_pb2.Part(text="late")]),
    ):
        with pytest.raises(NotFoundError):
            await write
    assert sessions.count() == 0


@pytest.mark.parametrize("part", ["par", ""])
async def test_a_turn_that_was_cut_off_keeps_its_part(sessions: Sessions, part: str) -> None:
    made = await sessions.create(Session())
    turn = await sessions.begin_turn(made.id, "request", [say("question")])
    if part:
        await turn.checkpoint([messages_pb2.Part(text=part)])
    await sessions.delete(made.id)
    back = await sessions.undelete(made.id)
    assert (back.running_request_id, back.message_count) == ("", 2)
    answer = all_messages(sessions, made.id)[1]
    assert (texts([answer]), answer.status) == ([part], messages_pb2.MESSAGE_STATUS_CANCELLED)
    with pytest.raises(FailedPreconditionError, match="has ended"):
        await turn.finish(messages_pb2.Message())


async def test_only_a_deleted_session_can_be_brought_back(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    with pytest.raises(FailedPreconditionError) as caught:
        await sessions.undelete(made.id)
    assert caught.value.reason == "SESSION_NOT_DELETED"
    with pytest.raises(NotFoundError):
        await sessions.undelete("nobody")
    with pytest.raises(InvalidArgumentError):
        await sessions.undelete("no id")


async def _import(sessions: Sessions, session_id: str) -> str:
    async def items() -> AsyncIterator[ImportSessionsRequest]:
        header = ImportHeader(session=Session(id=session_id), keep_id=True)
        yield ImportSessionsRequest(header=header)
        yield ImportSessionsRequest(messages=MessageBatch(messages=[say("imported")]))

    answers = [answer async for answer in sessions.import_(items())]
    return f"{answers[0].result.reason} {answers[0].result.detail}".strip()


async def test_its_id_stays_taken_until_it_is_purged(tmp_path: Path) -> None:
    clock = Clock()
    async with sessions_in(tmp_path, clock) as sessions:
        made = await _rich(sessions)
        await sessions.delete(made.id)
        assert (await _import(sessions, made.id)).startswith(f"SESSION_DELETED Session {made.id} was deleted")
        clock.pass_days(31)
        assert await deletion.purge(sessions.db, 30) == 1
        with pytest.raises(NotFoundError):
            await sessions.undelete(made.id)
        assert not await _import(sessions, made.id)
        assert texts(all_messages(sessions, made.id)) == ["imported"]


async def test_a_purge_takes_what_was_deleted_long_ago_and_leaves_nothing_of_it(tmp_path: Path) -> None:
    clock = Clock()
    async with sessions_in(tmp_path, clock) as sessions:
        old = [await _rich(sessions) for _ in range(deletion.PURGE_BATCH + 5)]
        for session in old:
            await sessions.delete(session.id)
        clock.pass_days(29.5)
        young = await _rich(sessions)
        await sessions.delete(young.id)
        clock.pass_days(0.5)
        assert await deletion.purge(sessions.db, 30) == 0
        clock.now += 1
        await retention.once(sessions.db, RetentionConfig())
        assert await sessions.undelete(young.id) == young
        await sessions.delete(young.id)
        clock.pass_days(31)
        await retention.once(sessions.db, RetentionConfig())
        await swept(sessions)
        assert set(entries(sessions)) == {"counters", "changes"}


async def test_the_daemon_looks_after_it_by_itself(tmp_path: Path) -> None:
    clock = Clock()
    async with sessions_in(tmp_path, clock) as sessions:
        await sessions.delete((await _rich(sessions)).id)
        clock.pass_days(31)
        task = asyncio.create_task(sessions.keep_up())
        await eventually(
            lambda: not sessions.list(page_size=1, page_token="", filter=Struct(), deleted=True)[0]
        )
        task.cancel()
