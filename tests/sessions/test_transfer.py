"""Imports and exports: each session whole or not at all, and told one by one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from oblix.v1 import messages_pb2, sessions_pb2
from oblix.v1.sessions_pb2 import ImportHeader, ImportSessionsRequest, ImportSessionsResponse, Session
from support.drivers.conversations import all_messages, say, sessions_in, struct, texts
from support.drivers.sweeping import entries, swept

from oblixd.errors import InvalidArgumentError, NotFoundError
from oblixd.sessions import Sessions


def _header(keep_id: bool = False, **fields: object) -> ImportSessionsRequest:
    return ImportSessionsRequest(header=ImportHeader(session=Session(**fields), keep_id=keep_id))


def _batch(*messages: messages_pb2.Message) -> ImportSessionsRequest:
    return ImportSessionsRequest(messages=sessions_pb2.MessageBatch(messages=messages))


async def _stream(items: Iterable[ImportSessionsRequest]) -> AsyncIterator[ImportSessionsRequest]:
    for item in items:
        yield item


async def _import(sessions: Sessions, *items: ImportSessionsRequest) -> list[ImportSessionsResponse]:
    return [answer async for answer in sessions.import_(_stream(items))]


async def _export(sessions: Sessions, *ids: str) -> list[sessions_pb2.ExportSessionsResponse]:
    return [item async for item in sessions.export(ids)]


async def _all_kinds(sessions: Sessions) -> str:
    made = await sessions.create(
        Session(title="T\0\u202e", metadata=struct(a=None, b=[1, {"c": 1.5}]), local_only=True)
    )
    await sessions.append(made.id, [say(f"{n}") for n in range(3)])
    turn = await sessions.begin_turn(made.id, "request", [say("question")])
    final = messages_pb2.Message(
        parts=[messages_pb2.Part(text="answer"), messages_pb2.Part(reasoning="why")], model="a:b"
    )
    final.timings.total.FromMilliseconds(3)
    final.decision.rule = "LOCAL"
    await turn.finish(final)
    await sessions.update(Session(id=made.id, archived=True), [])
    return made.id


async def test_an_exported_and_imported_session_is_the_same(tmp_path: Path) -> None:
    async with sessions_in(tmp_path / "one") as one, sessions_in(tmp_path / "two") as two:
        session_id = await _all_kinds(one)
        exported = await _export(one, session_id)
        items = [
            _header(keep_id=True, **{f.name: v for f, v in item.session.ListFields()})
            if item.HasField("session")
            else ImportSessionsRequest(messages=item.messages)
            for item in exported
        ]
        answers = await _import(two, *items)
        assert [answer.WhichOneof("item") for answer in answers] == ["result", "totals"]
        assert answers[0].result.session == two.get(session_id)
        assert answers[1].totals == sessions_pb2.ImportTotals(imported_count=1, message_count=5)
        again = await _export(two, session_id)
        again[0].session.etag = exported[0].session.etag
        assert again == exported


async def test_a_new_id_is_made_and_times_are_kept(sessions: Sessions) -> None:
    created, updated = Timestamp(seconds=10, nanos=1000), Timestamp(seconds=20)
    old = await sessions.create(Session())
    results = await _import(
        sessions,
        _header(id=old.id, create_time=created, update_time=updated, parent_session_id="p"),
        _batch(say("a", create_time=created)),
        _header(),
    )
    one, two = results[0].result.session, results[1].result.session
    assert len({old.id, one.id, two.id}) == 3
    assert (one.create_time, one.update_time, one.parent_session_id) == (created, updated, "p")
    assert all_messages(sessions, one.id)[0].create_time == created
    assert two.create_time.seconds > 1000
    assert (two.message_count, results[1].result.index) == (0, 1)


async def test_an_imported_session_goes_on(sessions: Sessions) -> None:
    (result, _) = await _import(sessions, _header(id="mine", keep_id=True), _batch(say("a"), say("b")))
    turn = await sessions.begin_turn("mine", "request", [say("c")])
    await turn.finish(messages_pb2.Message(parts=[messages_pb2.Part(text="d")]))
    assert texts(all_messages(sessions, result.result.session.id)) == ["a", "b", "c", "d"]


async def test_each_session_is_kept_whole_or_not_at_all(sessions: Sessions) -> None:
    await sessions.create(Session())
    results = await _import(
        sessions,
        _header(id="good", keep_id=True),
        _batch(say("a")),
        _header(id="good", keep_id=True),
        _batch(say("b")),
        _header(title="x" * 1025),
        _batch(say("c")),
        _header(id="bad message", title="bad message"),
        _batch(say("d")),
        _batch(say("e"), messages_pb2.Message()),
        _batch(say("f")),
        _header(title="last"),
        _batch(say("g")),
    )
    reasons = [answer.result.reason for answer in results[:-1]]
    assert reasons == ["", "SESSION_EXISTS", "TITLE_TOO_LONG", "INVALID_ROLE", ""]
    assert [answer.result.index for answer in results[:-1]] == [0, 1, 2, 3, 4]
    assert results[3].result.detail.startswith("messages[2].role")
    assert not results[3].result.HasField("session")
    totals = results[-1].totals
    assert (totals.imported_count, totals.refused_count, totals.message_count) == (2, 3, 2)
    assert texts(all_messages(sessions, "good")) == ["a"]
    assert sessions.count() == 3


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"keep_id": True}, "INVALID_SESSION_ID"),
        ({"keep_id": True, "id": "a b"}, "INVALID_SESSION_ID"),
        ({"parent_session_id": "a b"}, "INVALID_SESSION_ID"),
        ({"metadata": struct(a=float("inf"))}, "NOT_JSON"),
        ({"context": struct(a="x" * 65536)}, "TOO_LARGE"),
        ({"create_time": Timestamp(seconds=2**60)}, "INVALID_TIME"),
        ({"update_time": Timestamp(nanos=-1)}, "INVALID_TIME"),
    ],
)
async def test_a_bad_header_is_refused_with_its_reason(
    sessions: Sessions, header: dict[str, object], reason: str
) -> None:
    results = await _import(sessions, _header(**header), _batch(say("a")))
    assert results[0].result.reason == reason
    assert results[0].result.detail
    assert sessions.count() == 0


def _with_duration(seconds: int) -> messages_pb2.Message:
    message = say("x")
    message.timings.total.seconds = seconds
    return message


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        (_batch(*[say("x")] * 1001), "INVALID_MESSAGE_COUNT"),
        (_batch(say("x" * 2**21), say("x" * 2**21)), "BATCH_TOO_LARGE"),
        (_batch(say("x", id="x" * 129)), "MESSAGE_ID_TOO_LONG"),
        (_batch(say("x", request_id="é")), "INVALID_REQUEST_ID"),
        (_batch(say("x", source_session_id="a b")), "INVALID_SESSION_ID"),
        (_batch(_with_duration(2**62)), "INVALID_DURATION"),
    ],
)
async def test_a_bad_batch_is_refused_with_its_reason(
    sessions: Sessions, batch: ImportSessionsRequest, reason: str
) -> None:
    results = await _import(sessions, _header(), batch, _batch(say("y")))
    assert results[0].result.reason == reason
    assert sessions.count() == 0


async def test_a_refused_session_leaves_nothing_behind(sessions: Sessions) -> None:
    results = await _import(
        sessions,
        _header(),
        *[_batch(*[say(f"{n}") for n in range(1000)])] * 2,
        _batch(messages_pb2.Message()),
    )
    assert results[0].result.reason == "INVALID_ROLE"
    await swept(sessions)
    assert entries(sessions)["messages"] == 0


async def test_an_answer_that_was_being_written_comes_in_as_interrupted(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    turn = await sessions.begin_turn(made.id, "request", [say("question")])
    await turn.checkpoint([messages_pb2.Part(text="par")])
    exported = await _export(sessions, made.id)
    assert exported[1].messages.messages[1].status == messages_pb2.MESSAGE_STATUS_STREAMING
    (result, _) = await _import(sessions, _header(), ImportSessionsRequest(messages=exported[1].messages))
    answer = all_messages(sessions, result.result.session.id)[1]
    assert (answer.status, texts([answer])) == (messages_pb2.MESSAGE_STATUS_INTERRUPTED, ["par"])


async def test_message_ids_are_kept_and_made_unique(sessions: Sessions) -> None:
    (result, _) = await _import(
        sessions, _header(), _batch(say("a", id="mine"), say("b", id="mine"), say("c"), say("d"))
    )
    ids = [message.id for message in all_messages(sessions, result.result.session.id)]
    assert ids[0] == "mine"
    assert len(set(ids)) == 4
    assert all(ids)


@pytest.mark.parametrize("first", [_batch(say("a")), ImportSessionsRequest()])
async def test_messages_before_any_header_end_the_import(
    sessions: Sessions, first: ImportSessionsRequest
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await _import(sessions, first)
    assert caught.value.reason == "HEADER_MISSING"


async def test_an_import_whose_client_goes_away_keeps_what_was_whole(sessions: Sessions) -> None:
    async def items() -> AsyncIterator[ImportSessionsRequest]:
        yield _header(title="whole")
        yield _header(title="half")
        yield _batch(say("a"))
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        async for _ in sessions.import_(items()):
            pass
    assert sessions.count() == 1


async def test_an_import_of_nothing_says_so(sessions: Sessions) -> None:
    (answer,) = await _import(sessions)
    assert answer.totals == sessions_pb2.ImportTotals()


async def test_an_export_streams_sessions_in_the_order_asked_each_once(sessions: Sessions) -> None:
    ids = [(await sessions.create(Session())).id for _ in range(3)]
    await sessions.append(ids[1], [say("x" * 1000) for _ in range(1000)])
    for _ in range(2):
        await sessions.append(ids[1], [say("x" * 3 * 2**20)])
    turn = await sessions.begin_turn(ids[1], "request", [say("question")])
    await turn.checkpoint([messages_pb2.Part(text="x" * 3 * 2**20)])
    items = await _export(sessions, ids[1], ids[0], ids[1])
    headers = [item.session.id for item in items if item.HasField("session")]
    assert headers == [ids[1], ids[0]]
    batches = [item.messages for item in items if item.HasField("messages")]
    assert sum(len(batch.messages) for batch in batches) == 1004
    assert max(batch.ByteSize() for batch in batches) <= 4 * 2**20
    assert max(len(batch.messages) for batch in batches) <= 1000


async def test_an_export_of_an_unknown_session_sends_nothing(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    with pytest.raises(NotFoundError):
        sessions.export([made.id, "gone"])
