"""Sessions by a name of the program's own: made once, however many meet at it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import ImportHeader, ImportSessionsRequest, Session
from support.drivers.conversations import all_messages, all_sessions, say, sessions_in, struct, texts
from support.drivers.sweeping import entries, swept

from oblixd.errors import AlreadyExistsError, InvalidArgumentError
from oblixd.sessions import Sessions

NAME = "support.bot-1_b"


async def test_a_session_is_made_under_the_id_that_was_given(tmp_path: Path) -> None:
    async with sessions_in(tmp_path) as sessions:
        made = await sessions.create(Session(id=NAME, title="Support", metadata=struct(a=1)))
        assert made.id == NAME
    async with sessions_in(tmp_path) as sessions:
        assert sessions.get(NAME) == made
        assert (await sessions.create(Session())).id != NAME


async def test_an_id_is_given_once(sessions: Sessions) -> None:
    made = await sessions.create(Session(id=NAME))
    with pytest.raises(AlreadyExistsError, match=NAME) as caught:
        await sessions.create(Session(id=NAME, title="another"))
    assert (caught.value.reason, caught.value.metadata) == ("SESSION_EXISTS", {"session_id": NAME})
    assert all_sessions(sessions) == [made]


@pytest.mark.parametrize("session_id", ["a b", "é", "a/b", "x" * 129, "a\n"])
async def test_a_malformed_id_is_refused(sessions: Sessions, session_id: str) -> None:
    for make in (sessions.create, sessions.get_or_create):
        with pytest.raises(InvalidArgumentError) as caught:
            await make(Session(id=session_id))
        assert (caught.value.reason, caught.value.metadata["field"]) == ("INVALID_SESSION_ID", "session.id")
    assert sessions.count() == 0


async def test_a_session_without_an_id_can_not_be_met(sessions: Sessions) -> None:
    with pytest.raises(InvalidArgumentError, match="where get_existing is"):
        await sessions.get_or_create(Session(title="which?"))


async def test_an_existing_session_stays_as_it_is(sessions: Sessions) -> None:
    given: dict[str, Any] = {"title": "First", "metadata": struct(a=1), "context": struct(system="Be brief.")}
    made, is_new = await sessions.get_or_create(Session(id=NAME, **given))
    assert is_new
    await sessions.append(NAME, [say("one")])
    before, revision = sessions.get(NAME), sessions.db.changes.newest()
    other = Session(id=NAME, title="Second", metadata=struct(b=2), context=struct(system="Rhyme."))
    found, is_new = await sessions.get_or_create(other)
    assert not is_new
    assert found == before == sessions.get(NAME)
    assert (found.title, found.metadata, found.context) == (made.title, made.metadata, made.context)
    assert sessions.db.changes.newest() == revision


async def test_an_open_session_becomes_local_only_and_never_back(sessions: Sessions) -> None:
    await sessions.create(Session(id=NAME, title="Open"))
    found, is_new = await sessions.get_or_create(Session(id=NAME, local_only=True))
    assert (found.local_only, is_new, found.title) == (True, False, "Open")
    assert sessions.get(NAME) == found
    again, _ = await sessions.get_or_create(Session(id=NAME))
    assert again == found


async def test_a_deleted_id_is_neither_brought_back_nor_used_again_unasked(sessions: Sessions) -> None:
    await sessions.create(Session(id=NAME))
    await sessions.append(NAME, [say("one")])
    await sessions.delete(NAME)
    for make in (sessions.create, sessions.get_or_create):
        with pytest.raises(AlreadyExistsError, match="undelete it, purge it") as caught:
            await make(Session(id=NAME))
        assert caught.value.reason == "SESSION_DELETED"
    await sessions.undelete(NAME)
    assert not (await sessions.get_or_create(Session(id=NAME)))[1]
    assert texts(all_messages(sessions, NAME)) == ["one"]


@pytest.mark.parametrize("deleted_before", [True, False])
async def test_a_purged_id_is_free_at_once(sessions: Sessions, deleted_before: bool) -> None:
    await sessions.create(Session(id=NAME, title="Old"))
    await sessions.append(NAME, [say("one")])
    if deleted_before:
        await sessions.delete(NAME)
    await sessions.delete(NAME, purge=True)
    made, is_new = await sessions.get_or_create(Session(id=NAME))
    assert (is_new, made.title, made.message_count) == (True, "", 0)
    assert sessions.list(page_size=9, page_token="", filter=struct(), deleted=True) == ([], "")
    await sessions.delete(NAME, purge=True)
    await swept(sessions)
    assert entries(sessions)["messages"] == 0


async def test_a_session_that_was_imported_is_met_by_its_id(sessions: Sessions) -> None:
    async def items() -> Any:
        header = ImportHeader(session=Session(id=NAME, title="Imported"), keep_id=True)
        yield ImportSessionsRequest(header=header)

    async for _ in sessions.import_(items()):
        pass
    found, is_new = await sessions.get_or_create(Session(id=NAME))
    assert (found.title, is_new) == ("Imported", False)


async def test_many_who_meet_at_a_new_name_share_one_session(sessions: Sessions) -> None:
    async def work(number: int) -> bool:
        session, is_new = await sessions.get_or_create(Session(id=NAME, local_only=number == 5))
        await sessions.append(session.id, [say(str(number))])
        return is_new

    made = await asyncio.gather(*(work(number) for number in range(100)))
    assert sum(made) == 1
    messages = all_messages(sessions, NAME)
    assert sorted(map(int, texts(messages))) == list(range(100))
    assert sessions.get(NAME).local_only
    assert {message.role for message in messages} == {messages_pb2.ROLE_USER}
