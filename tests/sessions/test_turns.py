"""Turns: the question first, the answer bit by bit, and every way that it can end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import DeleteMessagesRequest, Session
from support.drivers.conversations import all_messages, say, sessions_in, struct, texts

from oblixd.errors import DataLossError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from oblixd.sessions import Sessions, Turn
from oblixd.sessions.fsck import problems
from oblixd.sessions.storage.schema import message_key
from oblixd.store import Transaction
from oblixd.store.writer import Writer


async def _begin(sessions: Sessions, *before: str, request_id: str = "request") -> Turn:
    made = await sessions.create(Session(title="Turns", context=struct(system="Be brief.")))
    if before:
        await sessions.append(made.id, [say(text) for text in before])
    return await sessions.begin_turn(made.id, request_id, [say("question")])


def _parts(*said: str) -> list[messages_pb2.Part]:
    return [messages_pb2.Part(text=text) for text in said]


def _count_rows(sessions: Sessions) -> dict[str, int]:
    store = sessions._db.store
    with store.read() as txn:
        return {name: store.table(name).count(txn) for name in ("running", "pieces")}


async def test_the_question_is_recorded_before_anything_else(sessions: Sessions) -> None:
    turn = await _begin(sessions, "before")
    session = sessions.get(turn.session.id)
    assert turn.session == session
    assert (session.running_request_id, session.message_count) == ("request", 2)
    assert all_messages(sessions, session.id)[1:] == turn.input
    assert (turn.input[0].sequence, turn.answer_sequence) == (2, 3)
    assert (turn.input[0].request_id, turn.input[0].status) == (
        "request",
        messages_pb2.MESSAGE_STATUS_COMPLETE,
    )


async def test_an_answer_is_there_as_far_as_it_was_checkpointed(sessions: Sessions) -> None:
    turn = await _begin(sessions)
    before = sessions.get(turn.session.id)
    await turn.checkpoint(
        [messages_pb2.Part(reasoning="h"), messages_pb2.Part(reasoning="m"), messages_pb2.Part(text="He")]
    )
    await turn.checkpoint(_parts("ll", "o"))
    answer = all_messages(sessions, turn.session.id)[-1]
    assert list(answer.parts) == [messages_pb2.Part(reasoning="hm"), messages_pb2.Part(text="Hello")]
    assert (answer.id, answer.sequence) == (turn.answer_id, turn.answer_sequence)
    assert (answer.status, answer.role) == (
        messages_pb2.MESSAGE_STATUS_STREAMING,
        messages_pb2.ROLE_ASSISTANT,
    )
    assert answer.request_id == "request"
    during = sessions.get(turn.session.id)
    assert (during.message_count, during.update_time) == (2, before.update_time)


async def test_the_final_record_takes_the_checkpoints_place(sessions: Sessions) -> None:
    turn = await _begin(sessions)
    await turn.checkpoint(_parts("Hel"))
    begun = all_messages(sessions, turn.session.id)[-1]
    final = messages_pb2.Message(parts=_parts("Hello!"), model="ollama:llama2")
    final.usage.output_tokens = 2
    final.timings.total.FromMilliseconds(1500)
    final.timings.tokens_per_second = 1.5
    final.decision.rule = "LOCAL"
    final.decision.resource_state = 1
    final.decision.readings.add(name="cpu_percent", value=3, threshold=80).age.FromMilliseconds(10)
    final.decision.candidates.add(model="ollama:llama2", location=1, rank=1, rule="R", reason="r", handle="h")
    recorded = await turn.finish(final)
    assert all_messages(sessions, turn.session.id) == [*turn.input, recorded]
    assert (recorded.id, recorded.sequence) == (turn.answer_id, turn.answer_sequence)
    assert recorded.create_time == begun.create_time
    assert recorded.status == messages_pb2.MESSAGE_STATUS_COMPLETE
    for field in ("usage", "timings", "decision", "model"):
        assert getattr(recorded, field) == getattr(final, field)
    session = sessions.get(turn.session.id)
    assert (session.running_request_id, session.message_count) == ("", 2)
    assert _count_rows(sessions) == {"running": 0, "pieces": 0}


@pytest.mark.parametrize("checkpointed", [False, True])
async def test_a_turn_can_end_with_a_part_or_with_nothing(sessions: Sessions, checkpointed: bool) -> None:
    turn = await _begin(sessions)
    if checkpointed:
        await turn.checkpoint(_parts("Hel"))
    when = Timestamp(seconds=7)
    recorded = await turn.finish(
        messages_pb2.Message(status=messages_pb2.MESSAGE_STATUS_CANCELLED, create_time=when)
    )
    assert (recorded.status, recorded.create_time, len(recorded.parts)) == (
        messages_pb2.MESSAGE_STATUS_CANCELLED,
        when,
        0,
    )
    assert sessions.get(turn.session.id).message_count == 2


@pytest.mark.parametrize("checkpointed", [False, True])
async def test_an_abandoned_turn_leaves_the_question_alone(sessions: Sessions, checkpointed: bool) -> None:
    turn = await _begin(sessions)
    if checkpointed:
        await turn.checkpoint(_parts("Hel"))
    await turn.abandon()
    assert all_messages(sessions, turn.session.id) == turn.input
    session = sessions.get(turn.session.id)
    assert (session.running_request_id, session.message_count) == ("", 1)
    assert _count_rows(sessions) == {"running": 0, "pieces": 0}


async def test_messages_appended_meanwhile_come_after_the_answer(sessions: Sessions) -> None:
    turn = await _begin(sessions)
    await sessions.append(turn.session.id, [say("meanwhile")])
    await turn.checkpoint(_parts("ans"))
    await turn.finish(messages_pb2.Message(parts=_parts("answer")))
    assert texts(all_messages(sessions, turn.session.id)) == ["question", "answer", "meanwhile"]


async def test_a_second_turn_is_refused_while_one_runs(sessions: Sessions) -> None:
    turn = await _begin(sessions)
    with pytest.raises(FailedPreconditionError, match="answering request already") as caught:
        await sessions.begin_turn(turn.session.id, "second", [say("me too")])
    assert caught.value.reason == "TURN_RUNNING"
    await turn.finish(messages_pb2.Message(parts=_parts("answer")))
    await sessions.begin_turn(turn.session.id, "second", [say("me too")])


async def test_one_of_two_turns_that_begin_at_once_is_refused(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    begun = await asyncio.gather(
        *(sessions.begin_turn(made.id, f"r{n}", [say(f"q{n}")]) for n in range(2)), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in begun) == ["FailedPreconditionError", "Turn"]
    assert sessions.get(made.id).message_count == 1


async def test_a_turn_that_ended_takes_nothing_more(sessions: Sessions) -> None:
    turn = await _begin(sessions)
    await turn.finish(messages_pb2.Message(parts=_parts("answer")))
    next_turn = await sessions.begin_turn(turn.session.id, "next", [say("again")])
    for call in (turn.checkpoint(_parts("x")), turn.finish(messages_pb2.Message()), turn.abandon()):
        with pytest.raises(FailedPreconditionError, match="has ended"):
            await call
    assert sessions.get(turn.session.id).running_request_id == "next"
    await next_turn.finish(messages_pb2.Message())


async def test_an_answer_can_not_end_as_streaming(sessions: Sessions) -> None:
    turn = await _begin(sessions)
    with pytest.raises(InvalidArgumentError, match="status"):
        await turn.finish(messages_pb2.Message(status=messages_pb2.MESSAGE_STATUS_STREAMING))


async def test_deleting_the_session_tells_whose_turn_to_cancel(sessions: Sessions) -> None:
    told: list[tuple[str, str]] = []
    sessions.on_deleted = lambda *what: told.append(what)
    turn = await _begin(sessions)
    await turn.checkpoint(_parts("ans"))
    await sessions.delete(turn.session.id)
    assert told == [(turn.session.id, "request")]
    for call in (turn.checkpoint(_parts("x")), turn.finish(messages_pb2.Message()), turn.abandon()):
        with pytest.raises(NotFoundError):
            await call
    assert _count_rows(sessions)["running"] == 0


async def test_a_beginner_who_goes_away_leaves_the_question_and_no_turn(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    beginning = asyncio.create_task(sessions.begin_turn(made.id, "request", [say("question")]))
    await asyncio.sleep(0)
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    await sessions._db.store.write(lambda txn: None)
    assert texts(all_messages(sessions, made.id)) == ["question"]
    assert sessions.get(made.id).running_request_id == ""
    assert _count_rows(sessions)["running"] == 0


async def test_a_beginner_who_was_refused_and_goes_away_ends_nobody_elses_turn(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    first = asyncio.create_task(sessions.begin_turn(made.id, "request", [say("first")]))
    second = asyncio.create_task(sessions.begin_turn(made.id, "request", [say("second")]))
    await asyncio.sleep(0)
    second.cancel()
    turn = await first
    await sessions._db.store.write(lambda txn: None)
    assert sessions.get(made.id).running_request_id == "request"
    await turn.finish(messages_pb2.Message())


async def test_a_cut_off_answer_is_kept_as_interrupted(tmp_path: Path) -> None:
    async with sessions_in(tmp_path) as sessions:
        turn = await _begin(sessions)
        await turn.checkpoint(_parts("Hel"))
        await turn.checkpoint(_parts("lo"))
        silent = await _begin(sessions, request_id="silent")
        done = await _begin(sessions, request_id="done")
        await done.finish(messages_pb2.Message(parts=_parts("answer")))
        store = sessions._db.store
        assert await Sessions(store).recover() == 2
        assert await Sessions(store).recover() == 0
        answer = all_messages(sessions, turn.session.id)[-1]
        assert (texts([answer]), answer.status) == (["Hello"], messages_pb2.MESSAGE_STATUS_INTERRUPTED)
        assert (answer.id, answer.request_id) == (turn.answer_id, "request")
        nothing = all_messages(sessions, silent.session.id)[-1]
        assert (nothing.id, nothing.status) == (silent.answer_id, messages_pb2.MESSAGE_STATUS_INTERRUPTED)
        assert list(nothing.parts) == []
        for session_id in (turn.session.id, silent.session.id):
            assert sessions.get(session_id).message_count == 2
            assert sessions.get(session_id).running_request_id == ""
            await sessions.begin_turn(session_id, f"next to {session_id}", [say("go on")])
        assert _count_rows(sessions) == {"running": 2, "pieces": 0}


@pytest.mark.parametrize("request_id", ["", "é", "x" * 129, "a\nb"])
async def test_a_malformed_request_id_is_refused(sessions: Sessions, request_id: str) -> None:
    made = await sessions.create(Session())
    with pytest.raises(InvalidArgumentError) as caught:
        await sessions.begin_turn(made.id, request_id, [say("question")])
    assert caught.value.reason == "INVALID_REQUEST_ID"
    assert sessions.get(made.id).message_count == 0


async def _turn_with_checkpoint(sessions: Sessions, *pieces: str) -> Turn:
    turn = await _begin(sessions)
    for piece in pieces:
        await turn.checkpoint(_parts(piece))
    return turn


async def _lose_piece(sessions: Sessions, turn: Turn, place: int) -> None:
    """Take a checkpoint away as damage does."""
    db = sessions.db
    number = db.ref(turn.session.id).number
    key = message_key(number, turn.answer_sequence) + place.to_bytes(4, "big")
    assert await db.store.write(lambda txn: db.tables.pieces.delete(txn, key))


@pytest.mark.parametrize("lost", [(0,), (1,), (0, 1, 2)])
async def test_a_missing_checkpoint_is_named_and_the_session_goes_on(
    tmp_path: Path, lost: tuple[int, ...]
) -> None:
    async with sessions_in(tmp_path) as sessions:
        turn = await _turn_with_checkpoint(sessions, "one ", "two ", "three")
        for place in lost:
            await _lose_piece(sessions, turn, place)
        with pytest.raises(DataLossError, match="missing"):
            all_messages(sessions, turn.session.id)
    assert [problem.session_id for problem in problems(tmp_path / "data.mdb")] == [turn.session.id]
    async with sessions_in(tmp_path) as sessions:
        with pytest.raises(DataLossError, match=f"^Message {turn.answer_sequence} of session"):
            all_messages(sessions, turn.session.id)
        assert _count_rows(sessions) == {"running": 0, "pieces": 0}
        await sessions.delete_messages(
            DeleteMessagesRequest(session_id=turn.session.id, sequences=[turn.answer_sequence], exact=True)
        )
        assert texts(all_messages(sessions, turn.session.id)) == ["question"]
        await sessions.begin_turn(turn.session.id, "next", [say("go on")])
    assert list(problems(tmp_path / "data.mdb")) == []


async def test_an_answer_that_began_anew_is_whole_as_far_as_it_came(sessions: Sessions) -> None:
    turn = await _turn_with_checkpoint(sessions, "from the first model")
    await turn.restart()
    await turn.checkpoint(_parts("from the second"))
    assert texts(all_messages(sessions, turn.session.id))[-1] == "from the second"


async def test_a_turn_that_may_not_begin_costs_those_who_write_beside_it_nothing(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn, written = await _begin(sessions), list[str]()
    other = await sessions.create(Session())
    alone = Writer._commit_alone
    monkeypatch.setattr(Writer, "_commit_alone", lambda *args: (written.append("alone"), alone(*args)))
    refused, _ = await asyncio.gather(
        sessions.begin_turn(turn.session.id, "another", [say("too early")]),
        sessions.append(other.id, [say("beside")]),
        return_exceptions=True,
    )
    assert isinstance(refused, FailedPreconditionError)
    assert refused.reason == "TURN_RUNNING"
    assert texts(all_messages(sessions, other.id)) == ["beside"]
    assert written == [], "nothing of the group had to be done anew"


async def test_an_extra_write_is_stored_with_the_answer_or_not_at_all(sessions: Sessions) -> None:
    turn = await _begin(sessions)
    beside = _CountingWrite(sessions)
    await sessions.delete(turn.session.id)
    with pytest.raises(NotFoundError):
        await turn.finish(messages_pb2.Message(parts=_parts("late")), extra_write=beside)
    assert (beside.count(), beside.heard) == (0, 0)
    turn = await _begin(sessions, request_id="next")
    await turn.finish(messages_pb2.Message(parts=_parts("in time")), extra_write=beside)
    assert (beside.count(), beside.heard) == (1, 1)


class _CountingWrite:
    """Counts in the store how often it was written."""

    def __init__(self, sessions: Sessions) -> None:
        self._store = sessions.db.store
        self._counters = sessions.db.tables.counters
        self.heard = 0

    def write(self, txn: Transaction) -> None:
        self._counters.put(txn, b"beside", bytes([self.count_in(txn) + 1]))

    def after_commit(self) -> None:
        self.heard += 1

    def count(self) -> int:
        with self._store.read() as txn:
            return self.count_in(txn)

    def count_in(self, txn: Transaction) -> int:
        return int.from_bytes(self._counters.get(txn, b"beside") or b"", "big")
