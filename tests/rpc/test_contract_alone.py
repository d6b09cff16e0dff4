"""What programs of other languages send from the contract alone must not do harm, nor mislead them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from oblix.testing import Answer, OllamaServer
from oblix.testing.faults import Cut
from oblix.v1 import (
    messages_pb2,
    sessions_pb2,
    sessions_pb2_grpc,
)
from support.drivers.daemon import RunningDaemon, run_daemon
from support.drivers.grpc_calls import Wire


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    home: Path = tmp_path_factory.mktemp("contract")
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false") as daemon:
        yield daemon


@pytest.fixture
def sessions(daemon: RunningDaemon) -> sessions_pb2_grpc.SessionServiceStub:
    return sessions_pb2_grpc.SessionServiceStub(daemon.channel)


def reason_of(error: grpc.RpcError) -> str:
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    told = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(told)
    return told.reason


def user(text: str, time: Timestamp | None = None) -> messages_pb2.Message:
    return messages_pb2.Message(
        role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=text)], create_time=time
    )


def test_an_empty_filter_is_refused(sessions) -> None:
    calls = (
        lambda: sessions.ListSessions(sessions_pb2.ListSessionsRequest(filter=Struct())),
        lambda: sessions.SearchMessages(sessions_pb2.SearchMessagesRequest(query="x", filter=Struct())),
        lambda: list(sessions.WatchSessions(sessions_pb2.WatchSessionsRequest(filter=Struct()))),
    )
    for call in calls:
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert reason_of(refused.value) == "FILTER_EMPTY"


@pytest.mark.parametrize("field", ["updated_from", "updated_before"])
def test_an_empty_bound_is_refused(sessions, field: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        sessions.ListSessions(sessions_pb2.ListSessionsRequest(**{field: Timestamp()}))
    assert reason_of(refused.value) == "TIME_EMPTY"
    assert field in refused.value.details()


def test_an_empty_time_is_refused_on_append(sessions) -> None:
    session = sessions.CreateSession(sessions_pb2.CreateSessionRequest()).session
    request = sessions_pb2.AppendMessagesRequest(session_id=session.id, messages=[user("x", Timestamp())])
    with pytest.raises(grpc.RpcError) as refused:
        sessions.AppendMessages(request)
    assert reason_of(refused.value) == "TIME_EMPTY"
    request.messages[0].ClearField("create_time")
    assert sessions.AppendMessages(request).messages[0].create_time.seconds > 0


def test_an_empty_time_is_taken_with_a_note_on_import(sessions) -> None:
    header = sessions_pb2.ImportHeader(session=sessions_pb2.Session(create_time=Timestamp()))
    steps = [
        sessions_pb2.ImportSessionsRequest(header=header),
        sessions_pb2.ImportSessionsRequest(
            messages=sessions_pb2.MessageBatch(messages=[user("x", Timestamp())])
        ),
    ]
    result = next(iter(sessions.ImportSessions(iter(steps)))).result
    assert "2 times are set and empty" in result.detail
    assert (result.reason, result.session.create_time.ToSeconds()) == ("", 0)


def test_a_failure_is_told_in_the_stream_before_its_status(daemon: RunningDaemon) -> None:
    wire = Wire(daemon.channel)
    seen = []
    with OllamaServer(["toy"]) as server:
        server.script(Answer("one two three", fault=Cut(after=2)))
        with pytest.raises(grpc.RpcError) as failure:
            seen.extend(_collect(seen, wire.execute("Hello", candidates=[wire.hook(server.url, "toy")])))
    assert seen[-1].failed.reason == reason_of(failure.value)
    assert seen[-1].failed.message == failure.value.details()
    assert [event.delta.text for event in seen if event.HasField("delta")]


def _collect(seen: list, events: Iterator) -> Iterator:
    """Put every event into the list, also those before an error, and yield nothing."""
    for event in events:
        seen.append(event)  # noqa: PERF402 - what came before the error counts
    yield from ()
