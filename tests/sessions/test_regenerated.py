"""Turns that answer anew: what the store holds at each moment, also of a daemon that is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import ListMessageVersionsRequest, Session
from support.drivers.conversations import (
    all_messages,
    all_sessions,
    say,
    sessions_in,
    struct,
    text_of,
    texts,
)

from oblixd.errors import FailedPreconditionError
from oblixd.sessions import Sessions, Turn
from oblixd.sessions.fsck import problems
from oblixd.store.inspection import DATA_FILE


def older(sessions: Sessions, session_id: str, sequence: int = 2) -> list[str]:
    request = ListMessageVersionsRequest(session_id=session_id, sequence=sequence)
    return texts(list(sessions.message_versions(request).messages))


async def session_with_answer(sessions: Sessions) -> tuple[str, messages_pb2.Message]:
    """A session with a question and its answer."""
    made = await sessions.create(Session())
    turn = await sessions.begin_turn(made.id, "old", [say("question")])
    return made.id, await turn.finish(messages_pb2.Message(parts=[messages_pb2.Part(text="first")]))


async def begin_again(sessions: Sessions) -> tuple[str, messages_pb2.Message, Turn]:
    session_id, answer = await session_with_answer(sessions)
    return session_id, answer, await sessions.begin_turn_again(session_id, "new", answer.id)


@pytest.mark.parametrize("end", ["abandoned", "killed", "deleted"])
async def test_the_old_answer_comes_back_where_nothing_new_came(tmp_path: Path, end: str) -> None:
    async with sessions_in(tmp_path) as sessions:
        session_id, answer, turn = await begin_again(sessions)
        assert texts(all_messages(sessions, session_id)) == ["question"]
        assert (turn.answer_id, turn.answer_sequence) == (answer.id, answer.sequence)
        if end == "abandoned":
            await turn.abandon()
        elif end == "deleted":
            await sessions.delete(session_id)
            await sessions.undelete(session_id)
    async with sessions_in(tmp_path) as sessions:
        assert all_messages(sessions, session_id)[1] == answer
        assert sessions.get(session_id).message_count == 2
        assert older(sessions, session_id) == []
        found = sessions.recorded_turn("new")
        assert found is not None
        assert (found.answer, texts(found.question)) == (None, ["question"])
    assert list(problems(tmp_path / DATA_FILE)) == []


@pytest.mark.parametrize("end", ["finished", "killed", "deleted"])
async def test_a_part_that_came_is_kept_as_a_version(tmp_path: Path, end: str) -> None:
    async with sessions_in(tmp_path) as sessions:
        session_id, _, turn = await begin_again(sessions)
        await turn.checkpoint([messages_pb2.Part(text="dropped")])
        await turn.restart()
        await turn.checkpoint([messages_pb2.Part(text="sec")])
        if end == "finished":
            await turn.finish(messages_pb2.Message(parts=[messages_pb2.Part(text="second")]))
        elif end == "deleted":
            await sessions.delete(session_id)
            await sessions.undelete(session_id)
    async with sessions_in(tmp_path) as sessions:
        _, renewed = all_messages(sessions, session_id)
        assert text_of(renewed) == ("second" if end == "finished" else "sec")
        assert renewed.version == 1
        assert older(sessions, session_id) == ["first"]
        for request_id, text in (("old", "first"), ("new", text_of(renewed))):
            found = sessions.recorded_turn(request_id)
            assert found is not None
            assert found.answer is not None
            assert text_of(found.answer) == text
    assert list(problems(tmp_path / DATA_FILE)) == []


async def test_a_turn_runs_and_what_is_appended_comes_after_it(sessions: Sessions) -> None:
    session_id, answer, turn = await begin_again(sessions)
    assert sessions.get(session_id).running_request_id == "new"
    with pytest.raises(FailedPreconditionError, match="is answering new already"):
        await sessions.begin_turn_again(session_id, "newer", answer.id)
    assert sessions.get(session_id).running_request_id == "new"
    await sessions.append(session_id, [say("after")])
    await turn.finish(messages_pb2.Message(parts=[messages_pb2.Part(text="second")]))
    assert texts(all_messages(sessions, session_id)) == ["question", "second", "after"]


async def test_copies_of_a_running_one_have_the_part_or_no_answer(sessions: Sessions) -> None:
    session_id, _, turn = await begin_again(sessions)
    early = await sessions.copy(session_id, None)
    await turn.checkpoint([messages_pb2.Part(text="part")])
    late = await sessions.copy(session_id, None)
    assert texts(all_messages(sessions, early.id)) == ["question"]
    assert texts(all_messages(sessions, late.id)) == ["question", "part"]


_CHILD = """
import asyncio, sys
from pathlib import Path
from oblix.v1 import messages_pb2 as pb
from oblix.v1.sessions_pb2 import DeleteMessagesRequest, EditMessageRequest, Session
from oblixd.sessions import TABLE_NAMES, Sessions
from oblixd.store import Store

def text(said):
    return [pb.Part(text=said)]

async def mend(sessions, name):
    made = await sessions.create(Session(id=name))
    question, answer = await sessions.append(name, [
        pb.Message(role=pb.ROLE_USER, parts=text("q")), pb.Message(role=pb.ROLE_ASSISTANT, parts=text("0")),
    ])
    number = 0
    while True:
        turn = await sessions.begin_turn_again(name, f"{name} {number}", answer.id)
        await turn.checkpoint(text("part"))
        number += 1
        await turn.finish(pb.Message(parts=text(str(number))))
        print(name, number, flush=True)
        number += 1
        await sessions.edit_message(EditMessageRequest(session_id=name, sequence=2, parts=text(str(number))))
        print(name, number, flush=True)
        await sessions.append(name, [pb.Message(role=pb.ROLE_USER, parts=text("gone"))])
        await sessions.delete_messages(DeleteMessagesRequest(session_id=name, last=1))

async def main():
    store = await Store.open(Path(sys.argv[1]), TABLE_NAMES, map_size=1 << 30)
    sessions = Sessions(store)
    await asyncio.gather(*(mend(sessions, name) for name in "abcd"))

asyncio.run(main())
"""


def _killed_in_the_middle(store: Path) -> dict[str, int]:
    """Lets a child mend four sessions, kills it, and says how far each was acknowledged."""
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(store)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child:
        lines = [child.stdout.readline() for _ in range(200)]
        child.kill()
        lines += child.stdout.readlines()
    return {name: int(number) for name, number in (line.split() for line in lines if line.endswith("\n"))}


async def test_a_kill_in_the_middle_of_mending_loses_no_version(tmp_path: Path) -> None:
    last = _killed_in_the_middle(tmp_path)
    async with sessions_in(tmp_path) as sessions:
        assert {session.id for session in all_sessions(sessions)} == set(last)
        for name, number in last.items():
            _, answer, *gone = all_messages(sessions, name)
            history = [*older(sessions, name)[::-1], text_of(answer)]
            assert history[: number + 1] == [str(at) for at in range(number + 1)]
            assert history[number + 1 :] in ([], ["part"], [str(number + 1)])
            assert texts(gone) in ([], ["gone"])
            assert sessions.get(name).running_request_id == ""
    assert list(problems(tmp_path / DATA_FILE)) == []


@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_question_with_a_complete_answer_is_part_of_contexts_again(
    sessions: Sessions, is_whole: bool
) -> None:
    status = messages_pb2.MESSAGE_STATUS_COMPLETE if is_whole else messages_pb2.MESSAGE_STATUS_CANCELLED
    session_id, answer = await session_with_answer(sessions)
    await sessions.exclude(session_id, [1], "CONTENT_REFUSED")
    turn = await sessions.begin_turn_again(session_id, "new", answer.id)
    assert turn.input[0].HasField("exclusion")
    await turn.finish(messages_pb2.Message(parts=[messages_pb2.Part(text="second")], status=status))
    question, _ = all_messages(sessions, session_id)
    assert question.HasField("exclusion") != is_whole


async def test_watchers_and_exports_see_the_new_answer(sessions: Sessions) -> None:
    session_id, answer = await session_with_answer(sessions)
    watched = sessions.watch(struct(), sessions.db.changes.newest())
    assert (await anext(watched)).HasField("synced")
    turn = await sessions.begin_turn_again(session_id, "new", answer.id)
    assert (await anext(watched)).session.session.running_request_id == "new"
    await turn.finish(messages_pb2.Message(parts=[messages_pb2.Part(text="second")]))
    header = (await anext(watched)).session.session
    assert (header.running_request_id, header.message_count) == ("", 2)
    await watched.aclose()
    exported = [message async for step in sessions.export([session_id]) for message in step.messages.messages]
    merged = await sessions.merge([session_id], None)
    assert texts(exported) == texts(all_messages(sessions, merged.id)) == ["question", "second"]
