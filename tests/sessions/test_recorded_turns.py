"""Requests: each is one turn for its session's life, and is told again as it ended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from oblix.v1 import executions_pb2, messages_pb2
from oblix.v1.sessions_pb2 import ImportHeader, ImportSessionsRequest, MessageBatch, Session
from support.drivers.conversations import all_messages, say, sessions_in, store_in
from support.drivers.sweeping import swept

from oblixd.errors import AlreadyExistsError, DeadlineExceededError, InternalError, UnavailableError
from oblixd.sessions import RecordedTurn, RetentionConfig, Sessions, TurnCompletion, deletion
from oblixd.sessions.fsck import problems
from oblixd.store import Store, offline, schema
from oblixd.store.inspection import DATA_FILE
from oblixd.store.migrations import to_2
from oblixd.store.v1 import records_pb2 as records

ANSWER = messages_pb2.Message(parts=[messages_pb2.Part(text="answer")])


async def _record_turn(sessions: Sessions, request_id: str, session_id: str = "") -> str:
    """A session with one complete turn more."""
    session_id = session_id or (await sessions.create(Session())).id
    turn = await sessions.begin_turn(session_id, request_id, [say("question")], b"print")
    await turn.finish(ANSWER)
    return session_id


def _find_turn(sessions: Sessions, request_id: str) -> RecordedTurn:
    found = sessions.recorded_turn(request_id)
    assert found is not None
    return found


def _count_rows(store: Store) -> dict[str, int]:
    with store.read() as txn:
        return {name: store.table(name).count(txn) for name in ("requests", "turns", "garbage")}


async def test_a_turn_is_found_from_its_begin_to_its_end(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    assert sessions.recorded_turn("r") is None
    question = [say("context", messages_pb2.ROLE_ASSISTANT), say("question")]
    turn = await sessions.begin_turn(made.id, "r", question, b"print")
    begun = _find_turn(sessions, "r")
    assert (begun.session_id, begun.fingerprint) == (made.id, b"print")
    assert (begun.status, begun.answer) == (messages_pb2.MESSAGE_STATUS_STREAMING, None)
    await turn.checkpoint([messages_pb2.Part(text="an")])
    part = _find_turn(sessions, "r").answer
    assert part is not None
    assert list(part.parts) == [messages_pb2.Part(text="an")]
    outcome = TurnCompletion(None, executions_pb2.FINISH_REASON_LENGTH, b"a report")
    recorded = await turn.finish(ANSWER, outcome)
    ended = _find_turn(sessions, "r")
    assert (ended.question, ended.answer, ended.completion) == (turn.input, recorded, outcome)
    assert ended.status == messages_pb2.MESSAGE_STATUS_COMPLETE


@pytest.mark.parametrize("kind", [UnavailableError, DeadlineExceededError, InternalError])
async def test_an_error_comes_back_word_for_word(tmp_path: Path, kind: type[InternalError]) -> None:
    error = kind("MODEL_UNREACHABLE", "Nobody's there: “try” again.", session_id="s", kept_bytes=0)
    async with sessions_in(tmp_path) as sessions:
        for request_id in ("with a part", "without"):
            made = await sessions.create(Session())
            turn = await sessions.begin_turn(made.id, request_id, [say("question")])
            if request_id == "without":
                await turn.abandon(TurnCompletion(error))
            else:
                await turn.finish(
                    messages_pb2.Message(status=messages_pb2.MESSAGE_STATUS_FAILED), TurnCompletion(error)
                )
    async with sessions_in(tmp_path) as sessions:
        for request_id in ("with a part", "without"):
            found = _find_turn(sessions, request_id)
            told = found.completion.error
            assert type(told) is kind
            assert (told.reason, told.message, told.metadata) == (error.reason, error.message, error.metadata)
            assert str(told) == str(error)
            assert found.status == messages_pb2.MESSAGE_STATUS_FAILED


async def test_an_error_of_a_class_of_its_own_comes_back_as_what_it_is(sessions: Sessions) -> None:
    class SpecialError(UnavailableError):
        """A class that the room of errors doesn't know."""

    made = await sessions.create(Session())
    turn = await sessions.begin_turn(made.id, "r", [say("question")])
    await turn.abandon(TurnCompletion(SpecialError("GONE", "It is gone.")))
    assert type(_find_turn(sessions, "r").completion.error) is UnavailableError


async def test_a_turn_without_an_answer_was_cancelled(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    turn = await sessions.begin_turn(made.id, "r", [say("question")])
    await turn.abandon(TurnCompletion(finish_reason=executions_pb2.FINISH_REASON_CANCELLED))
    found = _find_turn(sessions, "r")
    assert (found.status, found.answer) == (messages_pb2.MESSAGE_STATUS_CANCELLED, None)
    assert found.completion.finish_reason == executions_pb2.FINISH_REASON_CANCELLED


async def test_an_id_is_taken_in_every_session(sessions: Sessions) -> None:
    session_id = await _record_turn(sessions, "r")
    other = await sessions.create(Session())
    for wanted in (session_id, other.id):
        with pytest.raises(AlreadyExistsError) as caught:
            await sessions.begin_turn(wanted, "r", [say("again")])
        assert caught.value.reason == "REQUEST_ID_REUSED"
    assert sessions.get(other.id).message_count == 0


async def test_one_of_two_turns_with_the_same_request_id_is_refused(sessions: Sessions) -> None:
    made = [await sessions.create(Session()) for _ in range(2)]
    begun = await asyncio.gather(
        *(sessions.begin_turn(one.id, "r", [say("question")]) for one in made), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in begun) == ["AlreadyExistsError", "Turn"]
    assert sorted(sessions.get(one.id).message_count for one in made) == [0, 1]


async def test_a_deleted_sessions_turns_come_back_with_it(sessions: Sessions) -> None:
    session_id = await _record_turn(sessions, "r")
    before = _find_turn(sessions, "r")
    await sessions.delete(session_id)
    assert sessions.recorded_turn("r") is None
    with pytest.raises(AlreadyExistsError):
        await _record_turn(sessions, "r")
    await sessions.undelete(session_id)
    assert _find_turn(sessions, "r") == before


async def test_a_purged_sessions_ids_are_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "SWEEP_BATCH", 2)
    async with sessions_in(tmp_path, keeping=RetentionConfig(deleted_days=0)) as sessions:
        session_id, other = await _record_turn(sessions, "r0"), await _record_turn(sessions, "other")
        for number in range(1, 5):
            await _record_turn(sessions, f"r{number}", session_id)
        await sessions.delete(session_id)
        await swept(sessions)
        assert _count_rows(sessions.db.store) == {"requests": 1, "turns": 1, "garbage": 0}
        await _record_turn(sessions, "r0", other)
    assert list(problems(tmp_path / DATA_FILE)) == []


async def test_a_purged_session_leaves_no_request_ids(sessions: Sessions) -> None:
    session_id = await _record_turn(sessions, "r")
    await sessions.delete(session_id)
    assert await deletion.purge(sessions.db, 0) == 1
    await swept(sessions)
    assert _count_rows(sessions.db.store) == {"requests": 0, "turns": 0, "garbage": 0}


async def _import(sessions: Sessions, messages: list[messages_pb2.Message]) -> str:
    async def items() -> object:
        yield ImportSessionsRequest(header=ImportHeader(session=Session(source_id="elsewhere")))
        yield ImportSessionsRequest(messages=MessageBatch(messages=messages))

    answers = [answer async for answer in sessions.import_(items())]
    return str(answers[0].result.session.id)


async def test_a_request_belongs_to_the_session_that_it_began_in(tmp_path: Path) -> None:
    async with sessions_in(tmp_path, keeping=RetentionConfig(deleted_days=0)) as sessions:
        session_id = await _record_turn(sessions, "r")
        before = _find_turn(sessions, "r")
        messages = all_messages(sessions, session_id)
        copies = [
            (await sessions.copy(session_id, None)).id,
            (await sessions.copy(session_id, None, 1)).id,
            (await sessions.merge([session_id], None)).id,
            await _import(sessions, messages),
        ]
        for copy in copies:
            assert all_messages(sessions, copy)[0].request_id == "r"
            assert _find_turn(sessions, "r") == before
            await sessions.delete(copy)
        await swept(sessions)
        assert _find_turn(sessions, "r") == before


async def test_a_turn_that_the_daemons_death_cut_off_is_found_as_interrupted(tmp_path: Path) -> None:
    async with sessions_in(tmp_path) as sessions:
        made = await sessions.create(Session())
        turn = await sessions.begin_turn(made.id, "r", [say("question")], b"print")
        await turn.checkpoint([messages_pb2.Part(text="part")])
    async with sessions_in(tmp_path) as sessions:
        found = _find_turn(sessions, "r")
        assert (found.status, found.fingerprint) == (messages_pb2.MESSAGE_STATUS_INTERRUPTED, b"print")
        assert found.answer is not None
        assert list(found.answer.parts) == [messages_pb2.Part(text="part")]
        await _record_turn(sessions, "next", made.id)


async def _of_every_kind(sessions: Sessions) -> None:
    """Turns that ended in every way, in sessions of every kind, and one that runs."""
    await _purged_but_for_copies(sessions)
    first = await _record_turn(sessions, "complete")
    for request_id in ("failed", "cancelled"):
        turn = await sessions.begin_turn(
            first, request_id, [say("context", messages_pb2.ROLE_ASSISTANT), say("?")]
        )
        await turn.finish(
            messages_pb2.Message(
                status=messages_pb2.MessageStatus.Value(f"MESSAGE_STATUS_{request_id.upper()}")
            )
        )
    await (await sessions.begin_turn(first, "nothing", [say("?"), say("?")])).abandon()
    copy = await sessions.copy(first, None, 3)
    await _record_turn(sessions, "in the copy", copy.id)
    await sessions.merge([first, copy.id], None)
    deleted = await _record_turn(sessions, "deleted")
    await sessions.delete(deleted)
    turn = await sessions.begin_turn(await _record_turn(sessions, "before"), "running", [say("?")])
    await turn.checkpoint([messages_pb2.Part(text="part")])


async def _purged_but_for_copies(sessions: Sessions) -> None:
    """A session that is gone for good, of whose turn a fork, a merge and an import are left."""
    purged = await _record_turn(sessions, "purged")
    await sessions.copy(purged, None)
    await sessions.merge([purged], None)
    await _import(sessions, all_messages(sessions, purged))
    await sessions.delete(purged)
    await deletion.purge(sessions.db, 0)
    await swept(sessions)


KINDS = (
    "purged",
    "complete",
    "failed",
    "cancelled",
    "nothing",
    "in the copy",
    "before",
    "running",
    "deleted",
)


def _make_old(file: offline.File) -> None:
    """What schema 1 did not have is not there."""
    for name in ("requests", "turns"):
        file.tables[name].delete_all(file.txn, b"")
    version = records.SchemaRecord(version=1).SerializeToString()
    file.tables[schema.TABLE].put(file.txn, schema.KEY, version)


@pytest.mark.parametrize("at_once", [1, 3, 500])
async def test_older_turns_are_found_after_the_migration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(to_2, "AT_ONCE", at_once)
    async with store_in(tmp_path) as store:
        await _of_every_kind(Sessions(store))
    async with store_in(tmp_path) as store:
        before = {kind: Sessions(store).recorded_turn(kind) for kind in KINDS}
    offline.change(tmp_path / DATA_FILE, _make_old)
    async with store_in(tmp_path) as store:
        for kind, turn in before.items():
            found = Sessions(store).recorded_turn(kind)
            assert (found and (found.session_id, found.status, found.question, found.answer)) == (
                turn and (turn.session_id, turn.status, turn.question, turn.answer)
            )
        assert await Sessions(store).recover() == 1
        assert _find_turn(Sessions(store), "running").status == messages_pb2.MESSAGE_STATUS_INTERRUPTED
    assert list(problems(tmp_path / DATA_FILE)) == []


async def test_a_damaged_message_does_not_stop_the_migration(tmp_path: Path) -> None:
    async with sessions_in(tmp_path) as sessions:
        for title in ("hurt", "well"):
            session_id = await _record_turn(sessions, title)
            await sessions.append(session_id, [say(f"{title} message")])
    offline.change(tmp_path / DATA_FILE, _make_old)
    file = bytearray((tmp_path / DATA_FILE).read_bytes())
    place = file.rindex(b"hurt message")
    file[place] ^= 1
    (tmp_path / DATA_FILE).write_bytes(file)
    async with sessions_in(tmp_path) as sessions:
        assert _find_turn(sessions, "well").status == messages_pb2.MESSAGE_STATUS_COMPLETE


@pytest.mark.parametrize("table", ["requests", "turns"])
async def test_a_turn_that_is_not_found_is_named(tmp_path: Path, table: str) -> None:
    async with sessions_in(tmp_path) as sessions:
        session_id = await _record_turn(sessions, "r")
    offline.change(tmp_path / DATA_FILE, lambda file: file.tables[table].delete_all(file.txn, b""))
    found = [(problem.session_id, problem.what) for problem in problems(tmp_path / DATA_FILE)]
    assert (
        found
        == {
            "requests": [(session_id, "its request r is not found in requests")],
            "turns": [("", "1 records of requests belong to no session")],
        }[table]
    )
