"""Search through a real daemon: over gRPC, and across its death."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
import pytest
from oblix.v1 import sessions_pb2, sessions_pb2_grpc
from support.drivers.conversations import say
from support.drivers.daemon import WAIT_S, RunningDaemon, run_daemon
from support.drivers.searching import pin

MESSAGES = 2000


def _stub(daemon: RunningDaemon) -> sessions_pb2_grpc.SessionServiceStub:
    return sessions_pb2_grpc.SessionServiceStub(daemon.channel)


def _fill(daemon: RunningDaemon) -> str:
    stub = _stub(daemon)
    session = stub.CreateSession(
        sessions_pb2.CreateSessionRequest(session=sessions_pb2.Session(title="many"))
    ).session.id
    for first in range(0, MESSAGES, 1000):
        texts = [f"needle number{number} {'hay ' * 40}" for number in range(first, first + 1000)]
        stub.AppendMessages(
            sessions_pb2.AppendMessagesRequest(session_id=session, messages=[say(t) for t in texts])
        )
    return session


def _indexed_sequences(daemon: RunningDaemon, query: str) -> list[int]:
    """The sequences that are found once everything is indexed."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        answer = _stub(daemon).SearchMessages(sessions_pb2.SearchMessagesRequest(query=query))
        if not answer.indexing:
            return [hit.sequence for hit in answer.hits]
        time.sleep(0.02)  # nothing announces the index's end
    raise AssertionError("it is never indexed")


def _all_pages(daemon: RunningDaemon, session: str) -> list[int]:
    """Every sequence that is found, in all pages."""
    found: list[int] = []
    request = sessions_pb2.SearchMessagesRequest(query="needle", session_id=session, page_size=200)
    while True:
        answer = _stub(daemon).SearchMessages(request)
        found += [hit.sequence for hit in answer.hits]
        request.page_token = answer.next_page_token
        if not request.page_token:
            return sorted(found)


def test_kill_9_in_the_middle_of_indexing_loses_and_doubles_nothing(tmp_path: Path) -> None:
    index = tmp_path / "search" / "index.sqlite3"
    with run_daemon(tmp_path) as daemon:
        session = _fill(daemon)
        daemon.kill()  # the last messages were acknowledged a moment ago
    for file in index.parent.iterdir():
        file.unlink()
    with run_daemon(tmp_path) as daemon:
        # With the first batch that is seen the index is neither empty nor whole.
        while not _stub(daemon).SearchMessages(sessions_pb2.SearchMessagesRequest(query="needle")).hits:
            time.sleep(0.001)
        daemon.kill()
    begun = pin(index)
    with run_daemon(tmp_path) as daemon:
        assert _indexed_sequences(daemon, f"needle number{MESSAGES - 1}") == [MESSAGES]
        assert _all_pages(daemon, session) == list(range(1, MESSAGES + 1))
        assert index.samefile(begun)


def test_acknowledged_messages_are_found(tmp_path: Path) -> None:
    with run_daemon(tmp_path) as daemon:
        stub = _stub(daemon)
        session = stub.CreateSession(sessions_pb2.CreateSessionRequest()).session.id
        _indexed_sequences(daemon, "anything")
        for number in range(20):
            message = say(f"unheard-of{number}")
            stub.AppendMessages(sessions_pb2.AppendMessagesRequest(session_id=session, messages=[message]))
            assert _indexed_sequences(daemon, f"of{number}") == [number + 1]


def test_a_refusal_says_what_is_wrong(tmp_path: Path) -> None:
    with run_daemon(tmp_path) as daemon, pytest.raises(grpc.RpcError) as caught:
        _stub(daemon).SearchMessages(sessions_pb2.SearchMessagesRequest(query=""))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "query" in caught.value.details()
