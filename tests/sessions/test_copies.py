"""Copies and merges: complete, in order, unseen until they are done."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import Session
from support.drivers.conversations import all_messages, all_sessions, say, sessions_in, struct, texts
from support.drivers.sweeping import entries, swept

from oblixd.errors import InvalidArgumentError, NotFoundError
from oblixd.sessions import Sessions, builder
from oblixd.sessions.storage.records import message_record
from oblixd.store.v1 import records_pb2


async def _session(sessions: Sessions, *said: str | tuple[str, int], **header: object) -> Session:
    """A session with texts, each at a second where one is given."""
    made = await sessions.create(Session(**header))
    if said:
        await sessions.append(made.id, [_say(what) for what in said])
    return sessions.get(made.id)


def _say(what: str | tuple[str, int]) -> messages_pb2.Message:
    if isinstance(what, str):
        return say(what)
    return say(what[0], create_time=Timestamp(seconds=what[1], nanos=1000))


async def _begin_turn(sessions: Sessions, session_id: str) -> None:
    turn = await sessions.begin_turn(session_id, "request", [say("question")])
    await turn.checkpoint([messages_pb2.Part(text="par")])
    await turn.checkpoint([messages_pb2.Part(text="t")])
    await sessions.append(session_id, [say("meanwhile")])


async def test_a_copy_has_all_and_goes_its_own_way(sessions: Sessions) -> None:
    source = await _session(
        sessions, "a", "b", title="T", metadata=struct(k=1), context=struct(system="s"), local_only=True
    )
    await sessions.update(Session(id=source.id, archived=True), [])
    copy = await sessions.copy(source.id, None)
    assert copy == sessions.get(copy.id)
    assert (copy.title, copy.metadata, copy.context) == (source.title, source.metadata, source.context)
    assert (copy.local_only, copy.archived, copy.parent_session_id) == (True, False, source.id)
    assert all_messages(sessions, copy.id) == all_messages(sessions, source.id)
    await sessions.append(copy.id, [say("c")])
    await sessions.delete(source.id)
    assert texts(all_messages(sessions, copy.id)) == ["a", "b", "c"]
    assert [session.id for session in all_sessions(sessions, k=1)] == [copy.id]


@pytest.mark.parametrize("title", ["", "New"])
async def test_a_copy_can_have_a_title_of_its_own(sessions: Sessions, title: str) -> None:
    source = await _session(sessions, title="Old")
    assert (await sessions.copy(source.id, title)).title == title


async def test_a_running_answer_is_copied_as_it_stands(sessions: Sessions) -> None:
    source = await _session(sessions, "before")
    await _begin_turn(sessions, source.id)
    for made in (await sessions.copy(source.id, None), await sessions.merge([source.id], None)):
        copied = all_messages(sessions, made.id)
        assert texts(copied) == ["before", "question", "part", "meanwhile"]
        assert copied[2].status == messages_pb2.MESSAGE_STATUS_INTERRUPTED
        assert made.running_request_id == ""
    assert all_messages(sessions, source.id)[2].status == messages_pb2.MESSAGE_STATUS_STREAMING


async def test_a_large_copy_is_made_of_small_transactions_that_let_others_in(sessions: Sessions) -> None:
    source = await _session(sessions, *(f"{n}" for n in range(1000)))
    for _ in range(2):
        await sessions.append(source.id, [say(f"{n}") for n in range(1000)])
    whole = all_messages(sessions, source.id)
    copying = asyncio.create_task(sessions.copy(source.id, None))
    unseen = 0
    while not copying.done():
        await sessions.append(source.id, [say("meanwhile")])
        copies = [session for session in all_sessions(sessions) if session.id != source.id]
        assert all(copy.message_count == 3000 for copy in copies)
        unseen += not copies
    assert unseen >= 3
    assert all_messages(sessions, (await copying).id) == whole


async def test_giving_up_after_the_publication_takes_nothing_back(sessions: Sessions) -> None:
    draft = builder.SessionBuilder(sessions.db)
    for n in range(builder.CHUNK_MESSAGES + 1):
        await draft.add(message_record(say(f"{n}")).SerializeToString())
    made = await draft.publish(records_pb2.SessionRecord(id="mine"), 1)
    draft.drop()
    for _ in range(3):
        await sessions.db.store.write(lambda txn: None)
    assert len(all_messages(sessions, "mine")) == made.message_count == builder.CHUNK_MESSAGES + 1


async def test_unpublished_messages_are_swept(tmp_path: Path) -> None:
    async with sessions_in(tmp_path) as sessions:
        source = await _session(sessions, *(f"{n}" for n in range(1000)))
        copying = asyncio.create_task(sessions.copy(source.id, None))
        while entries(sessions)["garbage"] == 0:
            await sessions.db.store.write(lambda txn: None)
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
        await swept(sessions)
        assert entries(sessions)["messages"] == 1000
        assert sessions.count() == 1


async def test_remains_of_a_copy_are_swept_after_a_crash(tmp_path: Path) -> None:
    async with sessions_in(tmp_path) as sessions:
        draft = builder.SessionBuilder(sessions.db)
        for n in range(builder.CHUNK_MESSAGES):
            await draft.add(b"%d" % n)
        assert entries(sessions)["messages"] == builder.CHUNK_MESSAGES
    async with sessions_in(tmp_path) as sessions:
        await swept(sessions)
        assert entries(sessions)["messages"] == 0


async def test_a_merge_is_in_order_of_time_and_keeps_each_sources_order(sessions: Sessions) -> None:
    one = await _session(sessions, ("a", 1), ("stepped back", 0), ("d", 4))
    two = await _session(sessions, ("b", 2), ("c", 3), ("same", 4))
    merged = await sessions.merge([one.id, two.id], "Both")
    messages = all_messages(sessions, merged.id)
    assert texts(messages) == ["a", "stepped back", "b", "c", "d", "same"]
    assert [message.source_session_id for message in messages] == [
        (two if text in {"b", "c", "same"} else one).id for text in texts(messages)
    ]
    assert [message.sequence for message in messages] == list(range(1, 7))
    assert messages[1].create_time.seconds == 0
    assert (merged.title, merged.message_count, merged.parent_session_id) == ("Both", 6, "")


async def test_a_merge_unites_what_the_headers_say(sessions: Sessions) -> None:
    one = await _session(sessions, title="One", metadata=struct(a=1, b=1), context=struct(system="s"))
    two = await _session(
        sessions, metadata=struct(b=2, c=2), context=struct(system="t", x=1), local_only=True
    )
    merged = await sessions.merge([one.id, two.id], None)
    assert merged.metadata == struct(a=1, b=1, c=2)
    assert merged.context == struct(system="s", x=1)
    assert (merged.title, merged.local_only) == ("Merged: One", True)
    assert not (await sessions.merge([one.id], None)).local_only


async def test_a_long_title_still_fits_when_merged(sessions: Sessions) -> None:
    one = await _session(sessions, title="x" * 1024)
    assert len((await sessions.merge([one.id], None)).title) == 1024


async def test_a_source_that_is_named_twice_counts_once(sessions: Sessions) -> None:
    one, two = await _session(sessions, ("a", 1)), await _session(sessions, ("b", 2))
    merged = await sessions.merge([one.id, two.id, one.id], None)
    assert texts(all_messages(sessions, merged.id)) == ["a", "b"]


async def test_a_merge_of_copies_and_merges_keeps_ids_unique_and_the_first_source(sessions: Sessions) -> None:
    one = await _session(sessions, ("a", 1), ("b", 2))
    copy = await sessions.copy(one.id, None)
    merged = await sessions.merge([one.id, copy.id], None)
    again = await sessions.merge([merged.id, one.id], None)
    messages = all_messages(sessions, again.id)
    assert texts(messages) == ["a", "a", "a", "b", "b", "b"]
    assert len({message.id for message in messages}) == 6
    assert [message.source_session_id for message in messages] == [one.id, copy.id, one.id] * 2


async def test_a_missing_source_is_named_and_nothing_is_made(sessions: Sessions) -> None:
    one = await _session(sessions, "a")
    with pytest.raises(NotFoundError) as caught:
        await sessions.merge([one.id, "gone"], None)
    assert caught.value.metadata == {"session_id": "gone"}
    assert sessions.count() == 1


@pytest.mark.parametrize("ids", [[], ["x"] * 1001, ["a b"]])
async def test_a_merge_of_nothing_or_too_much_is_refused(sessions: Sessions, ids: list[str]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await sessions.merge(ids, None)
    assert caught.value.metadata["field"].startswith("session_ids")


async def test_metadata_that_grows_too_large_in_a_merge_is_refused(sessions: Sessions) -> None:
    sources = [
        await _session(sessions, metadata=struct(**{f"{letter}{n}": n for n in range(150)}))
        for letter in "ab"
    ]
    with pytest.raises(InvalidArgumentError, match=r"united.*256 keys"):
        await sessions.merge([source.id for source in sources], None)


async def test_a_long_merge_keeps_every_message_once(sessions: Sessions) -> None:
    clock = itertools.count(1)
    sources = []
    for _ in range(3):
        source = await _session(sessions, *((f"{next(clock)}", n) for n in range(700)))
        sources.append(source.id)
    merged = await sessions.merge(sources, None)
    found = [int(text) for text in texts(all_messages(sessions, merged.id))]
    assert found == [first + n for n in range(700) for first in (1, 701, 1401)]
