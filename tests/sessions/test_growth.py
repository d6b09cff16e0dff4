"""Importing again what went on elsewhere: sessions grow, and nothing is taken twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from google.protobuf.struct_pb2 import Struct
from oblix.v1 import sessions_pb2
from oblix.v1.sessions_pb2 import ImportHeader, ImportSessionsRequest, MessageBatch, Session
from support.drivers.conversations import all_messages, say, sessions_in, texts

from oblixd.sessions import Sessions
from oblixd.sessions.fsck import problems
from oblixd.store.inspection import DATA_FILE

Answer = tuple[sessions_pb2.ImportResult, sessions_pb2.ImportTotals]


async def take(
    sessions: Sessions, *said: str, source: str = "chat", parent: str = "", grow: bool = True
) -> Answer:
    """Import one session of a source that says this."""

    async def items() -> AsyncIterator[ImportSessionsRequest]:
        session = Session(source_id=source, title="T")
        header = ImportHeader(session=session, skip_existing=True, grow=grow, parent_source_id=parent)
        yield ImportSessionsRequest(header=header)
        for start in range(0, len(said), 100):
            batch = [say(text) for text in said[start : start + 100]]
            yield ImportSessionsRequest(messages=MessageBatch(messages=batch))

    result, totals = [answer async for answer in sessions.import_(items())]
    return result.result, totals.totals


def in_(sessions: Sessions, session_id: str) -> list[str]:
    return texts(all_messages(sessions, session_id))


async def test_new_messages_of_a_source_are_added(sessions: Sessions) -> None:
    first, _ = await take(sessions, "a", "b", grow=False)
    second, totals = await take(sessions, "a", "b", "c", "d")
    assert second.session.id == first.session.id
    assert (second.reason, second.added_count, totals.grown_count, totals.message_count) == ("", 2, 1, 2)
    assert in_(sessions, first.session.id) == ["a", "b", "c", "d"]
    again, totals = await take(sessions, "a", "b", "c", "d")
    assert (again.reason, again.added_count, totals.skipped_count) == ("ALREADY_IMPORTED", 0, 1)
    assert sessions.count() == 1


async def test_much_is_added_bit_by_bit(tmp_path: Path) -> None:
    said = [str(number) for number in range(1303)]
    async with sessions_in(tmp_path / "store") as sessions:
        first, _ = await take(sessions, *said[:3])
        grown, _ = await take(sessions, *said)
        assert grown.added_count == 1300
        assert in_(sessions, first.session.id) == said
        assert (await take(sessions, *said))[0].reason == "ALREADY_IMPORTED"


async def test_a_last_message_that_went_on_is_replaced_and_kept_as_a_version(sessions: Sessions) -> None:
    first, _ = await take(sessions, "a", "in the mak")
    second, _ = await take(sessions, "a", "in the making")
    assert (second.session.id, second.added_count) == (first.session.id, 1)
    assert in_(sessions, first.session.id) == ["a", "in the making"]
    third, _ = await take(sessions, "a", "in the making", "b")
    assert (third.session.id, third.added_count) == (first.session.id, 1)
    fourth, _ = await take(sessions, "a", "in the making", "b, too", "c")
    assert (fourth.session.id, fourth.added_count) == (first.session.id, 2)
    assert in_(sessions, first.session.id) == ["a", "in the making", "b, too", "c"]


async def test_messages_deleted_here_stay_deleted(sessions: Sessions) -> None:
    first, _ = await take(sessions, "a", "b")
    await sessions.delete_messages(
        sessions_pb2.DeleteMessagesRequest(session_id=first.session.id, sequences=[1])
    )
    grown, _ = await take(sessions, "a", "b", "c")
    assert in_(sessions, grown.session.id) == ["b", "c"]


async def test_a_session_that_went_on_here_and_there_is_a_fork(sessions: Sessions) -> None:
    first, _ = await take(sessions, "a")
    await sessions.append(first.session.id, [say("here")])
    second, _ = await take(sessions, "a", "there")
    assert (second.session.parent_session_id, second.session.parent_sequence) == (first.session.id, 1)
    assert in_(sessions, first.session.id) == ["a", "here"]
    assert in_(sessions, second.session.id) == ["a", "there"]
    third, _ = await take(sessions, "a", "there", "and on")
    assert third.session.id == second.session.id
    assert sessions.count() == 2


async def test_messages_undone_at_the_source_are_replaced_and_can_be_brought_back(sessions: Sessions) -> None:
    first, _ = await take(sessions, "a", "b", "undone", "too")
    second, _ = await take(sessions, "a", "anew", "and", "on")
    assert first.session.id in second.detail
    assert [each.id for each in sessions_listed(sessions)] == [second.session.id]
    await sessions.undelete(first.session.id)
    assert in_(sessions, first.session.id) == ["a", "b", "undone", "too"]


async def test_a_session_deleted_here_does_not_come_back(sessions: Sessions) -> None:
    first, _ = await take(sessions, "a")
    await sessions.delete(first.session.id)
    again, totals = await take(sessions, "a", "b")
    assert (again.reason, totals.skipped_count, sessions.count()) == ("IMPORT_DELETED", 1, 0)


async def test_a_fork_knows_its_parent(sessions: Sessions) -> None:
    parent, _ = await take(sessions, "a", "b", source="parent")
    child, _ = await take(sessions, "a", "c", source="child", parent="parent")
    assert child.session.parent_session_id == parent.session.id
    orphan, _ = await take(sessions, "x", source="orphan", parent="unknown")
    assert orphan.session.parent_session_id == ""


def sessions_listed(sessions: Sessions) -> list[sessions_pb2.Session]:
    return sessions.list(page_size=10, page_token="", filter=Struct())[0]


async def test_a_store_with_grown_sessions_is_sound(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    async with sessions_in(directory) as sessions:
        await take(sessions, "a", "b")
        await take(sessions, "a", "b", "c")
        await take(sessions, "a", "b", "c, too")
        await take(sessions, "x", "y", "z", "other")
        await take(sessions, "x", source="another")
    assert list(problems(directory / DATA_FILE)) == []
