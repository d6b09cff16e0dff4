"""Headers: made, read, changed, removed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from oblix.v1.sessions_pb2 import Session
from support.drivers.conversations import all_sessions, say, sessions_in, struct
from support.drivers.sweeping import entries, swept

from oblixd.errors import AbortedError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from oblixd.sessions import RetentionConfig, Sessions

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


async def test_a_session_is_made_of_what_was_given(sessions: Sessions) -> None:
    made = await sessions.create(
        Session(
            title="Plans",
            metadata=struct(a=1),
            context=struct(system="Be brief."),
            local_only=True,
            archived=True,
            message_count=7,
        )
    )
    assert UUID7.fullmatch(made.id)
    assert (made.title, made.local_only, made.archived, made.message_count) == ("Plans", True, False, 0)
    assert (made.metadata, made.context) == (struct(a=1), struct(system="Be brief."))
    assert made.create_time == made.update_time
    assert made.etag
    assert sessions.get(made.id) == made
    assert sessions.count() == 1


async def test_sessions_are_there_after_a_restart(tmp_path: Path) -> None:
    async with sessions_in(tmp_path) as sessions:
        made = await sessions.create(Session(title="Plans", metadata=struct(a="b\0c")))
    async with sessions_in(tmp_path) as sessions:
        assert sessions.get(made.id) == made


async def test_an_unknown_session_is_not_found(sessions: Sessions) -> None:
    with pytest.raises(NotFoundError, match="no session nobody") as caught:
        sessions.get("nobody")
    assert caught.value.reason == "SESSION_NOT_FOUND"
    assert caught.value.metadata == {"session_id": "nobody"}


@pytest.mark.parametrize("session_id", ["", "a b", "é", "a/b", "x" * 129, "a\n"])
async def test_a_malformed_id_is_refused(sessions: Sessions, session_id: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        sessions.get(session_id)
    assert caught.value.reason == "INVALID_SESSION_ID"
    assert caught.value.metadata["field"] == "session_id"


MERGED = {"a": 1, "b": {"c": True}}


@pytest.mark.parametrize(
    ("given", "paths", "title", "metadata"),
    [
        (Session(title="New"), [], "New", MERGED),
        (Session(metadata=struct(b=2, d=None)), [], "Old", {"a": 1, "b": 2, "d": None}),
        (Session(metadata=struct(b=2)), ["metadata"], "Old", {"b": 2}),
        (Session(metadata=struct(b=2, a=9)), ["metadata.b"], "Old", {"a": 1, "b": 2}),
        (Session(), ["metadata.b", "title"], "", {"a": 1}),
        (Session(metadata=struct(**{"x.y": 3})), ["metadata.x.y"], "Old", {**MERGED, "x.y": 3}),
        (Session(title="New", metadata=struct(z=1)), ["title"], "New", MERGED),
        (Session(metadata=struct(z=1)), ["metadata.gone"], "Old", MERGED),
    ],
)
async def test_updates_merge_or_replace_by_mask(
    sessions: Sessions, given: Session, paths: list[str], title: str, metadata: dict[str, Any]
) -> None:
    made = await sessions.create(Session(title="Old", metadata=struct(**MERGED)))
    given.id = made.id
    updated = await sessions.update(given, paths)
    assert updated == sessions.get(made.id)
    assert (updated.title, MessageToDict(updated.metadata)) == (title, metadata)
    assert updated.etag != made.etag
    assert updated.create_time == made.create_time


async def test_an_update_changes_context_and_archived_too(sessions: Sessions) -> None:
    made = await sessions.create(Session(context=struct(a=1)))
    updated = await sessions.update(Session(id=made.id, context=struct(b=2), archived=True), [])
    assert (updated.context, updated.archived) == (struct(a=1, b=2), True)
    updated = await sessions.update(Session(id=made.id), ["archived", "context.a"])
    assert (updated.context, updated.archived) == (struct(b=2), False)


async def test_an_update_moves_the_session_to_the_front_and_to_its_new_labels(sessions: Sessions) -> None:
    first = await sessions.create(Session(metadata=struct(kind="a")))
    second = await sessions.create(Session(metadata=struct(kind="a")))
    await sessions.update(Session(id=first.id, metadata=struct(kind="b")), [])
    assert [session.id for session in all_sessions(sessions)] == [first.id, second.id]
    assert [session.id for session in all_sessions(sessions, kind="a")] == [second.id]
    assert [session.id for session in all_sessions(sessions, kind="b")] == [first.id]


async def test_the_second_of_two_editors_is_refused(sessions: Sessions) -> None:
    made = await sessions.create(Session(title="Old"))
    await sessions.update(Session(id=made.id, title="First", etag=made.etag), ["title"])
    with pytest.raises(AbortedError, match="Read it again") as caught:
        await sessions.update(Session(id=made.id, title="Second", etag=made.etag), ["title"])
    assert caught.value.reason == "ETAG_MISMATCH"
    assert sessions.get(made.id).title == "First"


async def test_a_message_leaves_the_etag_alone(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    await sessions.append(made.id, [say("hello")])
    assert sessions.get(made.id).etag == made.etag


async def test_local_only_can_be_set_and_never_cleared(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    assert (await sessions.update(Session(id=made.id, local_only=True), [])).local_only
    assert (await sessions.update(Session(id=made.id, title="x"), [])).local_only
    with pytest.raises(FailedPreconditionError, match="never cleared") as caught:
        await sessions.update(Session(id=made.id), ["local_only"])
    assert caught.value.reason == "LOCAL_ONLY_STAYS"
    assert sessions.get(made.id).local_only


@pytest.mark.parametrize("path", ["id", "etag", "message_count", "metadata.", "title.x", "*", ""])
async def test_a_path_that_can_not_be_changed_is_refused(sessions: Sessions, path: str) -> None:
    made = await sessions.create(Session())
    with pytest.raises(InvalidArgumentError) as caught:
        await sessions.update(Session(id=made.id), [path])
    assert caught.value.metadata["field"] == "update_mask"
    assert sessions.get(made.id) == made


async def test_merged_metadata_that_grows_too_large_is_refused_and_nothing_changes(
    sessions: Sessions,
) -> None:
    made = await sessions.create(Session(metadata=struct(**{f"a{n}": n for n in range(200)})))
    with pytest.raises(InvalidArgumentError, match="at most 256 keys"):
        await sessions.update(Session(id=made.id, metadata=struct(**{f"b{n}": n for n in range(57)})), [])
    assert sessions.get(made.id) == made


async def test_a_deleted_session_is_gone_with_all_that_found_it(sessions: Sessions) -> None:
    told: list[tuple[str, str]] = []
    sessions.on_deleted = lambda *what: told.append(what)
    made = await sessions.create(Session(metadata=struct(kind="a")))
    await sessions.append(made.id, [say("hello")])
    await sessions.delete(made.id)
    assert sessions.count() == 0
    assert all_sessions(sessions) == all_sessions(sessions, kind="a") == []
    assert told == []
    for call in (sessions.delete(made.id), sessions.append(made.id, [say("x")])):
        with pytest.raises(NotFoundError):
            await call


async def test_a_deleted_sessions_room_is_given_back(tmp_path: Path) -> None:
    async with sessions_in(tmp_path, keeping=RetentionConfig(deleted_days=0)) as sessions:
        made = await sessions.create(Session(metadata=struct(a=1, b=2)))
        await sessions.update(Session(id=made.id, metadata=struct(b=3)), [])
        await sessions.begin_turn(made.id, "request", [say("question")])
        for _ in range(3):
            await sessions.append(made.id, [say(f"{n}") for n in range(1000)])
        await sessions.delete(made.id)
        await swept(sessions)
        assert set(entries(sessions)) == {"counters", "changes"}
