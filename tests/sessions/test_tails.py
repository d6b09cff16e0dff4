"""What is kept in memory of the ends of sessions: never older than the file, and bounded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import DeleteMessagesRequest, EditMessageRequest, Session
from support.drivers.conversations import say, texts

from oblixd.errors import NotFoundError
from oblixd.sessions import Sessions
from oblixd.sessions.storage.tails import BLOCK, Tails

ALL = 2**63
Message = messages_pb2.Message


class Reader:
    """Counts what it is asked to read."""

    def __init__(self, sessions: Sessions, most_bytes: int = 2**24) -> None:
        self.formed = 0
        self.tails = Tails(sessions.db, self._form, most_bytes)

    def _form(self, message: Message) -> Message:
        self.formed += 1
        return message

    def read(self, session_id: str, before: int = ALL) -> tuple[list[str], int]:
        """Return the texts of a session, oldest first, and how many messages were formed for that."""
        self.formed = 0
        return texts(reversed([*self.tails.before(session_id, before)])), self.formed


def fresh(sessions: Sessions, session_id: str, before: int = ALL) -> list[Message]:
    """Return the same with nothing kept."""
    return list(sessions.tails(lambda message: message).before(session_id, before))


async def session_with(sessions: Sessions, count: int) -> str:
    """Make a session of so many messages."""
    session_id = (await sessions.create(Session())).id
    await sessions.append(session_id, [say(f"m{number}") for number in range(1, count + 1)])
    return session_id


async def test_messages_in_memory_are_not_read_again(sessions: Sessions) -> None:
    session_id, reader = await session_with(sessions, 3 * BLOCK), Reader(sessions)
    everything = [f"m{number}" for number in range(1, 3 * BLOCK + 1)]
    assert reader.read(session_id) == (everything, 3 * BLOCK)
    assert reader.read(session_id) == (everything, 0)
    assert reader.read(session_id, 10) == (everything[:9], 0)
    await sessions.append(session_id, [say("new"), say("newer")])
    assert reader.read(session_id) == ([*everything, "new", "newer"], 2)


async def test_no_more_is_read_than_is_asked_for(sessions: Sessions) -> None:
    session_id, reader = await session_with(sessions, 3 * BLOCK), Reader(sessions)
    for _ in range(2):
        assert next(reader.tails.before(session_id, ALL)).sequence == 3 * BLOCK
    assert reader.formed == BLOCK
    assert len([*reader.tails.before(session_id, ALL)]) == reader.formed == 3 * BLOCK


async def _edit(sessions: Sessions, session_id: str) -> None:
    parts = [messages_pb2.Part(text="edited")]
    await sessions.edit_message(EditMessageRequest(session_id=session_id, sequence=3, parts=parts))


async def _delete(sessions: Sessions, session_id: str) -> None:
    await sessions.delete_messages(DeleteMessagesRequest(session_id=session_id, sequences=[2]))


async def _delete_last(sessions: Sessions, session_id: str) -> None:
    await sessions.delete_messages(DeleteMessagesRequest(session_id=session_id, last=1))
    await sessions.append(session_id, [say("in its place")])


async def _mark(sessions: Sessions, session_id: str) -> None:
    await sessions.exclude(session_id, [2])


async def _unmark(sessions: Sessions, session_id: str) -> None:
    await sessions.include(session_id, [1])


async def _answer_anew(sessions: Sessions, session_id: str) -> None:
    question = sessions.messages(session_id, page_size=1, page_token="", newest_first=True)[0][0]
    turn = await sessions.begin_turn_again(session_id, "again", question.id)
    await turn.finish(Message(parts=[messages_pb2.Part(text="another answer")]))


Change = Callable[[Sessions, str], Awaitable[None]]


@pytest.mark.parametrize("change", [_edit, _delete, _delete_last, _mark, _unmark, _answer_anew])
async def test_a_change_of_what_stands_is_seen_at_once(sessions: Sessions, change: Change) -> None:
    session_id = await session_with(sessions, 4)
    await sessions.exclude(session_id, [1])
    turn = await sessions.begin_turn(session_id, "first", [say("question")])
    await turn.finish(Message(parts=[messages_pb2.Part(text="answer")]))
    tails = sessions.tails(lambda message: message)
    before = list(tails.before(session_id, ALL))
    await change(sessions, session_id)
    after = list(tails.before(session_id, ALL))
    assert after == fresh(sessions, session_id)
    assert after != before


async def test_an_answer_is_kept_only_once_it_stands(sessions: Sessions) -> None:
    session_id, reader = await session_with(sessions, 2), Reader(sessions)
    turn = await sessions.begin_turn(session_id, "first", [say("question")])
    assert reader.read(session_id) == (["m1", "m2", "question"], 3)
    await turn.checkpoint([messages_pb2.Part(text="half")])
    await sessions.append(session_id, [say("meanwhile")])
    for text in ("half", "half of it"):
        assert reader.read(session_id) == (["m1", "m2", "question", text, "meanwhile"], 2)
        await turn.checkpoint([messages_pb2.Part(text=" of it")])
    await turn.finish(Message(parts=[messages_pb2.Part(text="whole")]))
    assert reader.read(session_id) == (["m1", "m2", "question", "whole", "meanwhile"], 2)
    assert reader.read(session_id) == (["m1", "m2", "question", "whole", "meanwhile"], 0)


CHANGES = """
import sys
import lmdb
from oblixd.sessions.storage.headers import Headers
from oblixd.sessions.storage.keys import SessionKey
from oblixd.sessions.storage.messages import MessageTable
from oblixd.sessions.storage.schema import TABLE_NAMES, Tables
from oblixd.store import Table

path, number, session_id = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with lmdb.open(path, max_dbs=64, map_size=1 << 30) as environment:
    tables = Tables(*(Table(name, environment.open_db(name.encode())) for name in TABLE_NAMES))
    with environment.begin(write=True) as txn:
        messages, ref = MessageTable(tables), SessionKey(number, session_id)
        progress = Headers(tables).progress(txn, ref)
        record = messages.get(txn, number, 1)
        record.parts[0].text = "told by another process"
        messages.replace(txn, number, progress, 1, record)
        messages.remove(txn, number, progress, [2])
        Headers(tables).put_progress(txn, ref, progress)
"""


async def test_writes_of_another_process_are_seen_at_once(sessions: Sessions, tmp_path: Path) -> None:
    session_id, reader = await session_with(sessions, 3), Reader(sessions)
    assert reader.read(session_id) == (["m1", "m2", "m3"], 3)
    number = str(sessions.db.ref(session_id).number)
    subprocess.run(  # noqa: ASYNC221 - nothing else is to happen meanwhile
        [sys.executable, "-c", CHANGES, tmp_path / "store", number, session_id], check=True, timeout=60
    )
    assert reader.read(session_id) == (["told by another process", "m3"], 2)


async def test_the_sessions_used_last_are_kept_as_far_as_there_is_room(sessions: Sessions) -> None:
    first, second, large = [await session_with(sessions, count) for count in (10, 10, 200)]
    reader = Reader(sessions, most_bytes=25 * 1700)
    for session_id in (first, second, first):
        reader.read(session_id)
    assert reader.read(first)[1] == reader.read(second)[1] == 0
    # One that has no room is read anew, and takes the room of no more than it was given.
    assert [reader.read(large)[1] for _ in range(2)] == [200, 200]
    assert reader.read(second) == ([f"m{number}" for number in range(1, 11)], 0)


async def test_a_deleted_session_is_not_served_from_memory(sessions: Sessions) -> None:
    session_id, reader = await session_with(sessions, 3), Reader(sessions)
    reader.read(session_id)
    await sessions.delete(session_id, purge=True)
    with pytest.raises(NotFoundError):
        reader.read(session_id)


async def _purge(sessions: Sessions, session_id: str) -> None:
    await sessions.delete(session_id, purge=True)


async def _delete_and_purge(sessions: Sessions, session_id: str) -> None:
    await sessions.delete(session_id)
    await sessions.delete(session_id, purge=True)


@pytest.mark.parametrize("remove", [_purge, _delete_and_purge, _delete, _delete_last])
async def test_nothing_that_was_deleted_stays_in_memory(sessions: Sessions, remove: Change) -> None:
    session_id, other = await session_with(sessions, 3), await session_with(sessions, 1)
    tails = sessions.tails(lambda message: message)
    for each in (other, session_id):
        kept_before = tails.size
        list(tails.before(each, ALL))
    await remove(sessions, session_id)
    assert tails.size == kept_before
