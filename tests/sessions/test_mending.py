"""Messages deleted and edited: what that does to everything that has to do with them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import (
    DeleteMessagesRequest,
    DeleteMessagesResponse,
    EditMessageRequest,
    ListMessageVersionsRequest,
    Session,
)
from support.data.clocks import Clock
from support.data.tool_messages import call, result
from support.drivers.conversations import all_messages, say, sessions_in, struct, text_of, texts
from support.drivers.sweeping import entries, swept

from oblixd.errors import (
    AbortedError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    OblixdError,
)
from oblixd.sessions import Sessions, retention
from oblixd.sessions.editing import mending
from oblixd.sessions.fsck import problems
from oblixd.sessions.storage import messages as storage
from oblixd.sessions.storage.retention_rules import RetentionConfig
from oblixd.store.inspection import DATA_FILE

NUMBERS = ("one", "two", "three", "four", "five")


async def a_session(sessions: Sessions, *said: str, **fields: Any) -> str:
    made = await sessions.create(Session(**fields))
    await sessions.append(made.id, [say(text) for text in said or NUMBERS])
    return made.id


async def delete(
    sessions: Sessions, session_id: str, *sequences: int, **fields: Any
) -> DeleteMessagesResponse:
    request = DeleteMessagesRequest(session_id=session_id, sequences=sequences, **fields)
    return await sessions.delete_messages(request)


async def edit(
    sessions: Sessions, session_id: str, sequence: int, text: str = "", **fields: Any
) -> messages_pb2.Message:
    parts = [messages_pb2.Part(text=text)] if text else []
    request = EditMessageRequest(session_id=session_id, sequence=sequence, parts=parts, **fields)
    return await sessions.edit_message(request)


def versions(sessions: Sessions, session_id: str, sequence: int, size: int = 0) -> list[str]:
    """The texts of a message's older versions, newest first, page by page."""
    request = ListMessageVersionsRequest(session_id=session_id, sequence=sequence, page_size=size)
    found: list[str] = []
    while True:
        page = sessions.message_versions(request)
        found += texts(list(page.messages))
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return found


def texts_of(sessions: Sessions, session_id: str) -> list[str]:
    messages = all_messages(sessions, session_id)
    assert sessions.get(session_id).message_count == len(messages)
    return texts(messages)


@pytest.mark.parametrize(
    ("request_", "gone", "left"),
    [
        ({"sequences": [2]}, ["two"], ["one", "three", "four", "five"]),
        ({"sequences": [5, 1, 1]}, ["one", "five"], ["two", "three", "four"]),
        ({"from_sequence": 4}, ["four", "five"], ["one", "two", "three"]),
        ({"from_sequence": 1}, list(NUMBERS), []),
        ({"from_sequence": 9}, [], list(NUMBERS)),
        ({"last": 1}, ["five"], ["one", "two", "three", "four"]),
        ({"last": 1000}, list(NUMBERS), []),
    ],
)
async def test_named_messages_are_deleted_for_good(
    tmp_path: Path, request_: dict[str, Any], gone: list[str], left: list[str]
) -> None:
    async with sessions_in(tmp_path) as sessions:
        session_id = await a_session(sessions)
        told = await delete(sessions, session_id, *request_.pop("sequences", ()), **request_)
        assert (texts(list(told.messages)), told.deleted_count) == (gone, len(gone))
        assert texts_of(sessions, session_id) == left
        await sessions.append(session_id, [say("six")])
    async with sessions_in(tmp_path) as sessions:
        assert texts_of(sessions, session_id) == [*left, "six"]
        assert all_messages(sessions, session_id)[-1].sequence == 6
    assert list(problems(tmp_path / DATA_FILE)) == []


async def test_a_long_truncation_goes_in_steps_and_tells_the_last_of_it(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mending, "DELETE_BATCH", 3)
    monkeypatch.setattr(mending, "MAX_MESSAGES", 4)
    session_id = await a_session(sessions, *map(str, range(10)))
    await delete(sessions, session_id, 6)
    told = await delete(sessions, session_id, from_sequence=2)
    assert (texts(list(told.messages)), told.deleted_count) == (["6", "7", "8", "9"], 8)
    assert texts_of(sessions, session_id) == ["0"]


async def test_the_last_are_the_last_that_are_there(sessions: Sessions) -> None:
    session_id = await a_session(sessions)
    for popped in ("five", "four"):
        assert texts(list((await delete(sessions, session_id, last=1)).messages)) == [popped]
    await delete(sessions, session_id, 2)
    assert texts(list((await delete(sessions, session_id, last=2)).messages)) == ["one", "three"]
    assert (await delete(sessions, session_id, last=1)).deleted_count == 0


async def test_writers_who_pop_and_append_lose_nothing(sessions: Sessions) -> None:
    session_id = await a_session(sessions, *map(str, range(50)))

    async def append(number: int) -> None:
        await sessions.append(session_id, [say(f"new {number}")])

    work = [append(number) for number in range(100)]
    pops = [delete(sessions, session_id, last=1) for _ in range(50)]
    done = await asyncio.gather(
        *(step for pair in zip(work[::2], pops, work[1::2], strict=True) for step in pair)
    )
    popped = [text_of(told.messages[0]) for told in done if told is not None]
    assert len(popped) == 50
    assert sorted([*popped, *texts_of(sessions, session_id)]) == sorted(
        [*map(str, range(50)), *(f"new {number}" for number in range(100))]
    )


@pytest.mark.parametrize("named", [2, 3, 4])
async def test_a_call_and_its_results_go_together(sessions: Sessions, named: int) -> None:
    session_id = await a_session(sessions, "question")
    await sessions.append(session_id, [call("a", "b"), result("a"), result("b"), say("thanks")])
    assert (await delete(sessions, session_id, named)).deleted_count == 3
    assert texts_of(sessions, session_id) == ["question", "thanks"]


async def test_only_what_is_named_goes_where_that_is_wanted(sessions: Sessions) -> None:
    session_id = await a_session(sessions, "question")
    await sessions.append(session_id, [call("a"), result("a")])
    assert (await delete(sessions, session_id, last=1, exact=True)).deleted_count == 1
    assert sessions.get(session_id).message_count == 2
    await sessions.append(session_id, [result("a")])
    assert (await delete(sessions, session_id, from_sequence=4)).deleted_count == 2
    assert texts_of(sessions, session_id) == ["question"]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({}, "INVALID_REQUEST"),
        ({"sequences": [1], "last": 1}, "INVALID_REQUEST"),
        ({"sequences": [0]}, "INVALID_SEQUENCE"),
        ({"from_sequence": -1}, "INVALID_SEQUENCE"),
        ({"last": -1}, "INVALID_MESSAGE_COUNT"),
        ({"last": 1001}, "INVALID_MESSAGE_COUNT"),
        ({"sequences": [1, 6]}, "MESSAGE_NOT_FOUND"),
        ({"sequences": [1, 3]}, "MESSAGE_NOT_FOUND"),
        ({"session_id": "nobody", "last": 1}, "SESSION_NOT_FOUND"),
    ],
)
async def test_a_wrong_deletion_deletes_nothing(
    sessions: Sessions, request_: dict[str, Any], reason: str
) -> None:
    session_id = await a_session(sessions)
    await delete(sessions, session_id, 3)
    with pytest.raises(OblixdError) as caught:
        await sessions.delete_messages(DeleteMessagesRequest(**{"session_id": session_id} | request_))
    assert caught.value.reason == reason
    assert texts_of(sessions, session_id) == ["one", "two", "four", "five"]


async def test_an_edit_is_a_new_version_and_the_old_one_stays(tmp_path: Path) -> None:
    async with sessions_in(tmp_path) as sessions:
        session_id = await a_session(sessions)
        before = all_messages(sessions, session_id)[1]
        await sessions.exclude(session_id, [2], "CONTENT_REFUSED")
        edited = await edit(sessions, session_id, 2, "zwei")
        assert (edited.id, edited.sequence, edited.create_time) == (before.id, 2, before.create_time)
        assert (edited.version, edited.HasField("exclusion")) == (1, False)
        await edit(sessions, session_id, 2, "deux", client_data=b"d")
        await edit(sessions, session_id, 2, "due")
    async with sessions_in(tmp_path) as sessions:
        assert texts_of(sessions, session_id) == ["one", "due", "three", "four", "five"]
        assert all_messages(sessions, session_id)[1].client_data == b"d"
        for size in (0, 1, 2):
            assert versions(sessions, session_id, 2, size) == ["deux", "zwei", "two"]
        assert versions(sessions, session_id, 1) == []
        restored = await edit(sessions, session_id, 2, restore_version=0)
        assert (text_of(restored), restored.version, restored.client_data) == ("two", 4, b"")
    assert list(problems(tmp_path / DATA_FILE)) == []


async def test_an_edited_part_of_an_answer_is_complete(sessions: Sessions) -> None:
    session_id = await a_session(sessions, "question")
    turn = await sessions.begin_turn(session_id, "request", [say("and?")])
    answer = messages_pb2.Message(
        parts=[messages_pb2.Part(text="par")],
        status=messages_pb2.MESSAGE_STATUS_CANCELLED,
        model="m:x",
        usage=messages_pb2.Usage(input_tokens=3),
    )
    await turn.finish(answer)
    edited = await edit(sessions, session_id, 3, "part")
    assert (edited.status, edited.model, edited.usage.input_tokens) == (
        messages_pb2.MESSAGE_STATUS_COMPLETE,
        "m:x",
        3,
    )
    restored = await edit(sessions, session_id, 3, restore_version=0)
    assert restored.status == messages_pb2.MESSAGE_STATUS_CANCELLED


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({}, "INVALID_REQUEST"),
        ({"text": "x", "restore_version": 0}, "INVALID_REQUEST"),
        ({"sequence": 0, "text": "x"}, "INVALID_SEQUENCE"),
        ({"sequence": 6, "text": "x"}, "MESSAGE_NOT_FOUND"),
        ({"sequence": 3, "text": "x"}, "MESSAGE_NOT_FOUND"),
        ({"restore_version": 1}, "VERSION_NOT_FOUND"),
        ({"restore_version": -1}, "VERSION_NOT_FOUND"),
        ({"text": "x", "version": 0}, "VERSION_MISMATCH"),
        ({"text": "x", "client_data": b"x" * (2**20 + 1)}, "CLIENT_DATA_TOO_LARGE"),
    ],
)
async def test_a_wrong_edit_changes_nothing(
    sessions: Sessions, request_: dict[str, Any], reason: str
) -> None:
    session_id = await a_session(sessions)
    await delete(sessions, session_id, 3)
    await edit(sessions, session_id, 1, "eins")
    before, header = all_messages(sessions, session_id), sessions.get(session_id)
    with pytest.raises(OblixdError) as caught:
        await edit(sessions, session_id, **{"sequence": 1} | request_)
    assert caught.value.reason == reason
    assert (all_messages(sessions, session_id), sessions.get(session_id)) == (before, header)


async def test_one_of_two_edits_of_the_same_version_is_refused(sessions: Sessions) -> None:
    session_id = await a_session(sessions)
    edits = [edit(sessions, session_id, 1, text, version=0) for text in "ab"]
    done = await asyncio.gather(*edits, return_exceptions=True)
    assert [type(outcome) for outcome in done] == [messages_pb2.Message, AbortedError]
    assert versions(sessions, session_id, 1) == ["one"]


async def test_an_edit_parts_no_call_from_its_result(sessions: Sessions) -> None:
    session_id = await a_session(sessions, "question")
    await sessions.append(session_id, [call("a"), result("a"), call("b")])

    async def say_instead(sequence: int, *parts: messages_pb2.Part) -> messages_pb2.Message:
        request = EditMessageRequest(session_id=session_id, sequence=sequence, parts=parts)
        return await sessions.edit_message(request)

    for sequence in (2, 3):
        for parts in ([messages_pb2.Part(text="x")], call("c").parts, result("c").parts):
            with pytest.raises(InvalidArgumentError, match="Delete the message") as caught:
                await say_instead(sequence, *parts)
            assert caught.value.reason == "TOOL_CALLS_CHANGED"
    changed = await say_instead(2, messages_pb2.Part(text="I look."), *call("a").parts)
    assert (changed.version, len(changed.parts)) == (1, 2)
    # Nobody answered this call: it may go.
    assert (await say_instead(4, messages_pb2.Part(text="x"))).version == 1


async def test_nothing_is_mended_while_a_turn_runs(sessions: Sessions) -> None:
    session_id = await a_session(sessions)
    turn = await sessions.begin_turn(session_id, "request", [say("six")])
    for work in (
        delete(sessions, session_id, 1),
        delete(sessions, session_id, from_sequence=1),
        delete(sessions, session_id, last=1),
        edit(sessions, session_id, 1, "eins"),
    ):
        with pytest.raises(FailedPreconditionError) as caught:
            await work
        assert (caught.value.reason, caught.value.metadata["request_id"]) == ("TURN_RUNNING", "request")
    await turn.abandon()
    assert texts_of(sessions, session_id) == [*NUMBERS, "six"]
    await delete(sessions, session_id, last=1)


async def test_a_fork_and_its_parent_are_apart(sessions: Sessions) -> None:
    parent = await a_session(sessions)
    fork = await sessions.copy(parent, None, 3)
    await delete(sessions, parent, 1)
    await edit(sessions, parent, 2, "zwei")
    await delete(sessions, fork.id, 3)
    assert texts_of(sessions, parent) == ["zwei", "three", "four", "five"]
    assert texts_of(sessions, fork.id) == ["one", "two"]
    assert sessions.get(fork.id).parent_sequence == 3
    late = await sessions.copy(parent, None, 3)
    assert texts_of(sessions, late.id) == ["zwei", "three"]
    assert all_messages(sessions, late.id)[0].version == 1
    assert versions(sessions, late.id, 1) == []
    assert await edit(sessions, late.id, 1, "deux")
    assert versions(sessions, late.id, 1) == ["zwei"]


async def test_merges_and_exports_have_what_is_left_in_its_newest_version(sessions: Sessions) -> None:
    one, other = await a_session(sessions), await a_session(sessions, "a", "b")
    await delete(sessions, one, 2)
    await edit(sessions, one, 3, "drei")
    merged = await sessions.merge([one, other], None)
    assert texts_of(sessions, merged.id) == ["one", "drei", "four", "five", "a", "b"]
    exported = [message async for step in sessions.export([one]) for message in step.messages.messages]
    assert texts(exported) == ["one", "drei", "four", "five"]


async def test_a_mended_session_is_deleted_and_brought_back_as_it_is(sessions: Sessions) -> None:
    session_id = await a_session(sessions)
    await delete(sessions, session_id, 2)
    await edit(sessions, session_id, 3, "drei")
    await sessions.delete(session_id)
    await sessions.undelete(session_id)
    assert texts_of(sessions, session_id) == ["one", "drei", "four", "five"]
    assert versions(sessions, session_id, 3) == ["three"]
    await sessions.delete(session_id, purge=True)
    await swept(sessions)
    assert {"messages", "versions"}.isdisjoint(entries(sessions))


async def test_a_deleted_message_takes_its_versions_along(sessions: Sessions) -> None:
    session_id = await a_session(sessions)
    await edit(sessions, session_id, 3, "drei")
    await delete(sessions, session_id, 3)
    assert "versions" not in entries(sessions)
    with pytest.raises(NotFoundError):
        versions(sessions, session_id, 3)


async def test_retention_counts_from_the_last_mending(tmp_path: Path) -> None:
    clock = Clock()
    keeping = RetentionConfig(retention_days=10)
    async with sessions_in(tmp_path, clock, keeping) as sessions:
        mended, left_alone = await a_session(sessions), await a_session(sessions)
        clock.pass_days(9)
        await delete(sessions, mended, 1)
        clock.pass_days(9)
        await edit(sessions, mended, 2, "zwei")
        clock.pass_days(9)
        await retention.once(sessions.db, keeping)
        assert [sessions.get(found).archived for found in (mended, left_alone)] == [False, True]


async def test_watchers_see_the_header(sessions: Sessions) -> None:
    session_id = await a_session(sessions, "a", "b", title="T")
    watched = sessions.watch(struct(), sessions.db.changes.newest())
    assert (await anext(watched)).HasField("synced")
    await delete(sessions, session_id, 1)
    assert (await anext(watched)).session.session == sessions.get(session_id)
    await edit(sessions, session_id, 2, "c")
    assert (await anext(watched)).session.session == sessions.get(session_id)
    await watched.aclose()


async def test_a_session_that_is_emptied_again_and_again_holds_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mending, "DELETE_BATCH", 3)
    monkeypatch.setattr(storage, "DROP_BATCH", 4)
    async with sessions_in(tmp_path) as sessions:
        session_id = await a_session(sessions)
        for _ in range(3):
            await sessions.append(session_id, [say("more")] * 10)
            await delete(sessions, session_id, from_sequence=1)
            assert "messages" not in entries(sessions)
        await sessions.append(session_id, [say("six"), say("seven"), say("eight")])
        await delete(sessions, session_id, 37)
        await delete(sessions, session_id, from_sequence=38)
        assert entries(sessions)["messages"] == 3
        assert texts_of(sessions, session_id) == ["six"]
        with pytest.raises(NotFoundError):
            await delete(sessions, session_id, 1)
        turn = await sessions.begin_turn(session_id, "request", [say("nine")])
        assert (turn.input[0].sequence, turn.answer_sequence) == (39, 40)
        assert texts(list(sessions.history(session_id, 39))) == ["six"]
        await turn.abandon()
    assert list(problems(tmp_path / DATA_FILE)) == []
    async with sessions_in(tmp_path) as sessions:
        assert texts_of(sessions, session_id) == ["six", "nine"]
        copy = await sessions.copy(session_id, None)
        assert texts_of(sessions, copy.id) == ["six", "nine"]
