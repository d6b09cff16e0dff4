"""Importing again: what is here already, by its source and its content, is skipped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from oblix.v1 import messages_pb2, sessions_pb2
from oblix.v1.sessions_pb2 import ImportHeader, ImportSessionsRequest, MessageBatch, Retention, Session
from support.drivers.conversations import all_messages, say, sessions_in, struct, texts
from support.drivers.sweeping import entries, swept

from oblixd.sessions import RetentionConfig, Sessions


async def _import(
    sessions: Sessions,
    *said: str | messages_pb2.Message,
    keep_id: bool = False,
    skip_existing: bool = True,
    **session: Any,
) -> tuple[sessions_pb2.ImportResult, sessions_pb2.ImportTotals]:
    async def items() -> AsyncIterator[ImportSessionsRequest]:
        header = ImportHeader(session=Session(**session), keep_id=keep_id, skip_existing=skip_existing)
        yield ImportSessionsRequest(header=header)
        messages = [say(what) if isinstance(what, str) else what for what in said]
        yield ImportSessionsRequest(messages=MessageBatch(messages=messages))

    result, totals = [answer async for answer in sessions.import_(items())]
    return result.result, totals.totals


async def test_the_same_again_is_skipped_and_told(sessions: Sessions) -> None:
    first, totals = await _import(sessions, "a", "b", source_id="chat-1", title="T")
    assert (first.reason, totals.imported_count, totals.skipped_count) == ("", 1, 0)
    assert first.session.source_id == "chat-1"
    await sessions.append(first.session.id, [say("went on here")])
    again, totals = await _import(sessions, "a", "b", source_id="chat-1", title="T")
    assert (again.reason, again.session) == ("ALREADY_IMPORTED", sessions.get(first.session.id))
    assert first.session.id in again.detail
    assert (totals.imported_count, totals.refused_count, totals.skipped_count) == (0, 0, 1)
    assert (sessions.count(), totals.message_count) == (1, 0)


async def test_other_content_or_another_source_is_no_repetition(sessions: Sessions) -> None:
    await _import(sessions, "a", "b", source_id="chat-1", title="T", metadata=struct(a=1, b=2))
    for said, header in [
        (["a", "b", "c"], {"source_id": "chat-1", "title": "T", "metadata": struct(a=1, b=2)}),
        (["ab", ""], {"source_id": "chat-1", "title": "T", "metadata": struct(a=1, b=2)}),
        (["a", "b"], {"source_id": "chat-2", "title": "T", "metadata": struct(a=1, b=2)}),
        (["a", "b"], {"source_id": "chat-1", "title": "U", "metadata": struct(a=1, b=2)}),
        (["a", "b"], {"source_id": "chat-1", "title": "T", "metadata": struct(a=1)}),
        (["a", "b"], {"source_id": "chat-1", "title": "T", "context": struct(a=1, b=2)}),
        (["a", "b"], {"source_id": "chat-1", "title": "T", "context": struct(a=1)}),
    ]:
        result, _ = await _import(sessions, *said, **header)
        assert result.reason == ""
    again, _ = await _import(
        sessions, "a", "b", source_id="chat-1", title="T", metadata=struct(b=2, a=1), archived=True
    )
    assert again.reason == "ALREADY_IMPORTED"
    assert sessions.count() == 8


async def test_messages_without_a_time_are_the_same_later(tmp_path: Path) -> None:
    times = iter(range(1_000_000, 10**12, 1_000_000))
    async with sessions_in(tmp_path, clock=lambda: next(times)) as sessions:
        await _import(sessions, "a", source_id="chat-1")
        again, _ = await _import(sessions, "a", source_id="chat-1")
        assert again.reason == "ALREADY_IMPORTED"
        timed = say("a", create_time=Timestamp(seconds=1))
        assert (await _import(sessions, timed, source_id="chat-1"))[0].reason == ""


async def test_it_is_taken_twice_where_that_is_asked_for_or_nothing_names_its_source(
    sessions: Sessions,
) -> None:
    await _import(sessions, "a", source_id="chat-1")
    twice, _ = await _import(sessions, "a", source_id="chat-1", skip_existing=False)
    assert twice.reason == ""
    for _ in range(2):
        assert (await _import(sessions, "a"))[0].reason == ""
    await sessions.delete(twice.session.id)
    assert (await _import(sessions, "a", source_id="chat-1"))[0].reason == "ALREADY_IMPORTED"


async def test_a_deleted_session_is_imported_again(sessions: Sessions) -> None:
    first, _ = await _import(sessions, "a", source_id="chat-1")
    await sessions.delete(first.session.id)
    second, _ = await _import(sessions, "a", source_id="chat-1")
    assert second.reason == ""
    await sessions.delete(second.session.id)
    await sessions.undelete(first.session.id)
    third, _ = await _import(sessions, "a", source_id="chat-1")
    assert third.session.id == first.session.id


async def test_with_its_id_kept_it_is_skipped_and_not_refused(sessions: Sessions) -> None:
    session = {"id": "mine", "source_id": "chat-1", "keep_id": True}
    await _import(sessions, "a", **session)
    assert (await _import(sessions, "a", **session))[0].reason == "ALREADY_IMPORTED"
    assert (await _import(sessions, "other", **session))[0].reason == "SESSION_EXISTS"
    assert (await _import(sessions, "a", **session, skip_existing=False))[0].reason == "SESSION_EXISTS"
    assert texts(all_messages(sessions, "mine")) == ["a"]


async def test_two_at_once_are_taken_once(sessions: Sessions) -> None:
    results = await asyncio.gather(*(_import(sessions, "a", source_id="chat-1") for _ in range(5)))
    assert sorted(result.reason for result, _ in results) == ["", *["ALREADY_IMPORTED"] * 4]
    assert sessions.count() == 1


async def test_nothing_is_left_of_what_was_skipped(tmp_path: Path) -> None:
    async with sessions_in(tmp_path, keeping=RetentionConfig(deleted_days=0)) as sessions:
        first, _ = await _import(sessions, "a", source_id="chat-1")
        await _import(sessions, "a", source_id="chat-1")
        await sessions.delete(first.session.id)
        await swept(sessions)
        assert not {"sources", "messages"} & set(entries(sessions))


async def test_where_it_came_from_and_its_retention_go_along(sessions: Sessions) -> None:
    given = {"source_id": "chat-1", "retention": Retention(days=3), "parent_sequence": 4}
    made, _ = await _import(sessions, "a", parent_session_id="theirs", **given)
    header, *_ = [item.session async for item in sessions.export([made.session.id])]
    assert (header.source_id, header.retention.days, header.parent_sequence) == ("chat-1", 3, 4)
    assert header.retention.action == sessions_pb2.RETENTION_ACTION_ARCHIVE


async def test_a_source_that_is_too_long_is_refused(sessions: Sessions) -> None:
    result, totals = await _import(sessions, "a", source_id="x" * 513)
    assert (result.reason, totals.refused_count) == ("SOURCE_ID_TOO_LONG", 1)
