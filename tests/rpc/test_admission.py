"""Large requests: refused beyond the budget with what to do, and in nobody's way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from oblix.testing import Answer, OllamaServer
from oblix.v1 import daemon_pb2, executions_pb2, messages_pb2, sessions_pb2
from support.drivers.daemon import RunningDaemon, run_daemon
from support.drivers.grpc_calls import Wire

MIB = 1 << 20
LIMIT_MIB = 64
LARGE = b"\xa5" * (6 * MIB)
TIMEOUT_S = 60.0


@pytest.fixture
def daemon(home: Path) -> Iterator[RunningDaemon]:
    limit = {"OBLIX_DAEMON_CLIENT_MEMORY_MIB": str(LIMIT_MIB)}
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false", **limit) as daemon:
        yield daemon


def large(handle: str, **fields: object) -> executions_pb2.ExecuteRequest:
    parts = [messages_pb2.Part(image=messages_pb2.ImagePart(media_type="image/png", data=LARGE))]
    given = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[*parts, messages_pb2.Part(text="Hi")])
    return executions_pb2.ExecuteRequest(input=[given], candidates=[handle], **fields)


def own_mb(daemon: RunningDaemon) -> float:
    lines = Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1e3


def test_prompts_beyond_the_budget_are_refused_and_the_others_answered(daemon: RunningDaemon) -> None:
    may_answer = threading.Event()

    def answer(_question: str) -> Answer:
        may_answer.wait(TIMEOUT_S)
        return Answer("Yes.")

    with OllamaServer(["llama2"]) as server:
        server.default = answer
        wire = Wire(daemon.channel)
        handle = wire.hook(server.url)
        calls = [
            wire.executions.Execute(
                large(handle), timeout=TIMEOUT_S, metadata=[("oblix-client", f"c{n % 3}")]
            )
            for n in range(14)
        ]
        held, refused = [], []
        for call in calls:
            try:
                next(call)
                held.append(call)
            except grpc.RpcError as error:
                refused.append(error)
        assert 3 <= len(held) <= LIMIT_MIB // 6
        for error in refused:
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            info = error_details_pb2.ErrorInfo()
            details = dict(error.trailing_metadata())["grpc-status-details-bin"]
            assert status_pb2.Status.FromString(details).details[0].Unpack(info)
            assert (info.reason, int(info.metadata["given"]) > len(LARGE)) == ("MEMORY_FULL", True)
            assert "client_memory_mib" in error.details()
        # What is small is let in all the same.
        wire.daemon.GetInfo(daemon_pb2.GetInfoRequest(), timeout=TIMEOUT_S)
        session = wire.session()
        small = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text="Hi")])
        note = sessions_pb2.AppendMessagesRequest(session_id=session, messages=[small])
        wire.sessions.AppendMessages(note, timeout=TIMEOUT_S)
        may_answer.set()
        assert {list(call)[-1].WhichOneof("event") for call in held} == {"completed"}
        assert next(wire.executions.Execute(large(handle), timeout=TIMEOUT_S)), "there is room again"


def test_calls_that_send_nothing_keep_no_other_out(daemon: RunningDaemon) -> None:
    method = daemon.channel.stream_unary("/oblix.v1.SessionService/AppendMessages")
    never = threading.Event()

    def nothing() -> Iterator[bytes]:
        never.wait(TIMEOUT_S)
        yield from ()

    frozen = [method.future(nothing(), timeout=TIMEOUT_S) for _ in range(8)]
    wire = Wire(daemon.channel)
    session = wire.session()
    small = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text="Hi")])
    note = sessions_pb2.AppendMessagesRequest(session_id=session, messages=[small])
    assert len(wire.sessions.AppendMessages(note, timeout=TIMEOUT_S).messages) == 1
    assert not any(call.done() for call in frozen)
    never.set()
    for call in frozen:
        assert call.code() is grpc.StatusCode.INVALID_ARGUMENT, "no message is no request"


def test_messages_that_nobody_reads_yet_stay_with_their_senders(daemon: RunningDaemon) -> None:
    """Sixteen clients send 6 MiB each: only a few are in the daemon at the same time."""
    before = own_mb(daemon)
    text = messages_pb2.Part(text="x" * len(LARGE))
    message = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[text])
    channels = [
        grpc.insecure_channel(
            f"unix:{daemon.socket}", options=[("grpc.max_receive_message_length", -1), ("n", n)]
        )
        for n in range(16)
    ]
    wires = [Wire(channel) for channel in channels]
    request = [
        sessions_pb2.AppendMessagesRequest(session_id=wires[0].session(), messages=[message]) for _ in wires
    ]
    calls = [
        wire.sessions.AppendMessages.future(asked, timeout=TIMEOUT_S)
        for wire, asked in zip(wires, request, strict=True)
    ]
    most = before
    while not all(call.done() for call in calls):
        most = max(most, own_mb(daemon))
    assert [call.code() for call in calls] == [grpc.StatusCode.OK] * 16
    assert most - before < 2 * 16 * len(LARGE) / 1e6, (
        "each takes several times its size while it is worked on"
    )
    for channel in channels:
        channel.close()
