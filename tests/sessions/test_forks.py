"""Forks: a part of a session goes its own way. And messages from a place on."""

from __future__ import annotations

from typing import Any

import pytest
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import Session
from support.drivers.conversations import all_messages, say, texts

from oblixd.errors import InvalidArgumentError
from oblixd.sessions import Sessions


async def _session(sessions: Sessions, *said: str) -> str:
    made = await sessions.create(Session(title="T"))
    await sessions.append(made.id, [say(text) for text in said])
    return made.id


@pytest.mark.parametrize(
    ("up_to", "said"), [(1, ["a"]), (2, ["a", "b"]), (3, ["a", "b", "c"]), (0, ["a", "b", "c"])]
)
async def test_a_fork_ends_at_its_message_and_knows_its_parent(
    sessions: Sessions, up_to: int, said: list[str]
) -> None:
    source = await _session(sessions, "a", "b", "c")
    fork = await sessions.copy(source, None, up_to)
    assert texts(all_messages(sessions, fork.id)) == said
    assert (fork.parent_session_id, fork.parent_sequence, fork.title) == (source, len(said), "T")
    assert fork == sessions.get(fork.id)
    (more,) = await sessions.append(fork.id, [say("its own way")])
    assert more.sequence == len(said) + 1


async def test_a_fork_where_an_answer_was_dropped_names_the_message_before(sessions: Sessions) -> None:
    source = await _session(sessions, "a")
    turn = await sessions.begin_turn(source, "request", [say("question")])
    await turn.abandon()
    await sessions.append(source, [say("later")])
    fork = await sessions.copy(source, None, 3)
    assert texts(all_messages(sessions, fork.id)) == ["a", "question"]
    assert fork.parent_sequence == 2


async def test_a_fork_at_a_running_answer_takes_its_part(sessions: Sessions) -> None:
    source = await _session(sessions, "a")
    turn = await sessions.begin_turn(source, "request", [say("question")])
    await turn.checkpoint([messages_pb2.Part(text="par")])
    await sessions.append(source, [say("later")])
    fork = await sessions.copy(source, None, turn.answer_sequence)
    assert texts(all_messages(sessions, fork.id)) == ["a", "question", "par"]


@pytest.mark.parametrize("up_to", [-1, 4, 2**62])
async def test_a_fork_past_the_end_is_refused(sessions: Sessions, up_to: int) -> None:
    source = await _session(sessions, "a", "b", "c")
    with pytest.raises(InvalidArgumentError) as caught:
        await sessions.copy(source, None, up_to)
    assert (caught.value.reason, caught.value.metadata["field"]) == ("INVALID_SEQUENCE", "up_to_sequence")


def _read(sessions: Sessions, session_id: str, **query: Any) -> list[str]:
    found, token = [], ""
    while True:
        page, token = sessions.messages(session_id, page_size=2, page_token=token, **query)
        found += page
        if not token:
            return texts(found)


@pytest.mark.parametrize("start", range(7))
async def test_messages_are_read_from_a_place_on_both_ways(sessions: Sessions, start: int) -> None:
    session_id = await _session(sessions, *"12345")
    forwards = _read(sessions, session_id, newest_first=False, from_sequence=start)
    assert forwards == [text for text in "12345" if int(text) >= start]
    backwards = _read(sessions, session_id, newest_first=True, from_sequence=start)
    assert backwards == [text for text in "54321" if int(text) <= start or not start]


async def test_a_negative_place_is_refused(sessions: Sessions) -> None:
    session_id = await _session(sessions, "a")
    with pytest.raises(InvalidArgumentError) as caught:
        _read(sessions, session_id, newest_first=False, from_sequence=-1)
    assert caught.value.metadata["field"] == "from_sequence"
