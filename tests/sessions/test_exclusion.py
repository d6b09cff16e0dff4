"""Messages that are kept and left out of contexts."""

from __future__ import annotations

from pathlib import Path

import pytest
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import ImportHeader, ImportSessionsRequest, MessageBatch, Session
from support.data.clocks import Clock
from support.data.tool_messages import call, result
from support.drivers.conversations import all_messages, say, sessions_in

from oblixd.errors import InvalidArgumentError, NotFoundError
from oblixd.sessions import Sessions


def excluded_sequences(sessions: Sessions, session_id: str) -> list[int]:
    return [
        message.sequence for message in all_messages(sessions, session_id) if message.HasField("exclusion")
    ]


async def test_a_mark_says_why_and_since_when_and_survives_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    async with sessions_in(tmp_path, clock) as sessions:
        made = await sessions.create(Session())
        await sessions.append(made.id, [say("one"), say("two")])
        clock.now += 5_000_000
        assert await sessions.exclude(made.id, [2], "CONTENT_REFUSED", "The provider said no.") == [2]
    async with sessions_in(tmp_path, clock) as sessions:
        one, two = all_messages(sessions, made.id)
        assert not one.HasField("exclusion")
        assert (two.exclusion.reason, two.exclusion.detail) == ("CONTENT_REFUSED", "The provider said no.")
        assert two.exclusion.mark_time.ToMicroseconds() == clock.now
        assert next(sessions.history(made.id, 3)) == two
        assert sessions.get(made.id).update_time.ToMicroseconds() == clock.now
        assert await sessions.include(made.id, [2]) == [2]
        assert excluded_sequences(sessions, made.id) == []


async def test_a_mark_that_is_there_stays(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    await sessions.append(made.id, [say("one"), say("two")])
    await sessions.exclude(made.id, [1], "FIRST")
    assert await sessions.exclude(made.id, [1, 2], "") == [2]
    reasons = [message.exclusion.reason for message in all_messages(sessions, made.id)]
    assert reasons == ["FIRST", "BY_REQUEST"]
    assert await sessions.include(made.id, [1, 2]) == [1, 2]
    assert await sessions.include(made.id, [1, 2]) == []


@pytest.mark.parametrize("named", [2, 3, 4])
async def test_a_call_and_its_results_are_marked_together(sessions: Sessions, named: int) -> None:
    made = await sessions.create(Session())
    # Some servers number the calls of each answer anew: ids come again.
    tools = [call("0", "1"), result("0"), result("1")]
    await sessions.append(made.id, [say("q"), *tools, *tools, say("thanks")])
    assert await sessions.exclude(made.id, [named]) == [2, 3, 4] == excluded_sequences(sessions, made.id)
    assert await sessions.exclude(made.id, [7]) == [5, 6, 7]
    assert await sessions.include(made.id, [named]) == [2, 3, 4]


async def test_a_message_that_is_not_there_changes_nothing(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    await sessions.append(made.id, [say("one")])
    turn = await sessions.begin_turn(made.id, "request", [say("two")])
    await turn.checkpoint([messages_pb2.Part(text="three")])
    for sequence in (3, 4):
        with pytest.raises(NotFoundError, match=f"no message {sequence}") as caught:
            await sessions.exclude(made.id, [1, sequence])
        assert caught.value.reason == "MESSAGE_NOT_FOUND"
    for wrong in ([], [0], [-1], [1] * 1001):
        with pytest.raises(InvalidArgumentError):
            await sessions.exclude(made.id, wrong)
    with pytest.raises(InvalidArgumentError, match="reason must be at most 128"):
        await sessions.exclude(made.id, [1], "X" * 129)
    assert excluded_sequences(sessions, made.id) == []


async def test_a_question_can_be_marked_while_its_turn_runs(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    turn = await sessions.begin_turn(made.id, "request", [say("bad")])
    assert await sessions.exclude(made.id, [turn.input[0].sequence], "CONTENT_REFUSED") == [1]
    await turn.checkpoint([messages_pb2.Part(text="answer")])
    await turn.finish(messages_pb2.Message(parts=[messages_pb2.Part(text="answer")]))
    assert excluded_sequences(sessions, made.id) == [1]


async def test_copies_and_exports_carry_marks_and_data(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    await sessions.append(made.id, [say("one", client_data=b"\0\xff"), say("two")])
    await sessions.exclude(made.id, [2], "CONTENT_REFUSED")
    before = all_messages(sessions, made.id)
    copy = await sessions.copy(made.id, None)
    assert all_messages(sessions, copy.id) == before
    merged = all_messages(sessions, (await sessions.merge([made.id], None)).id)
    assert [message.exclusion for message in merged] == [message.exclusion for message in before]
    assert [message.client_data for message in merged] == [b"\0\xff", b""]

    async def items():
        yield ImportSessionsRequest(header=ImportHeader(session=Session(id="in"), keep_id=True))
        yield ImportSessionsRequest(messages=MessageBatch(messages=before))

    async for _ in sessions.import_(items()):
        pass
    assert all_messages(sessions, "in") == before


async def test_appended_messages_are_not_marked_and_their_data_is_bounded(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    given = say("one", exclusion=messages_pb2.ContextExclusion(reason="X"), client_data=b"x" * 2**20)
    (message,) = await sessions.append(made.id, [given])
    assert not message.HasField("exclusion")
    assert all_messages(sessions, made.id) == [message]
    assert message.client_data == given.client_data
    with pytest.raises(InvalidArgumentError, match="client_data must be at most") as caught:
        await sessions.append(made.id, [say("one", client_data=b"x" * (2**20 + 1))])
    assert caught.value.reason == "CLIENT_DATA_TOO_LARGE"


@pytest.mark.parametrize("named", [1, 2, 3])
async def test_a_call_that_was_answered_twice_has_both_results(sessions: Sessions, named: int) -> None:
    made = await sessions.create(Session())
    await sessions.append(made.id, [call("a"), result("a"), result("a"), say("q"), result("a"), call("a")])
    assert await sessions.exclude(made.id, [named]) == [1, 2, 3]


async def test_a_call_without_a_result_is_alone(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    await sessions.append(made.id, [call("a"), call("a"), result("a"), say("q"), call("b")])
    assert await sessions.exclude(made.id, [1]) == [1]
    assert await sessions.exclude(made.id, [5]) == [5]
    assert await sessions.exclude(made.id, [3]) == [2, 3]
