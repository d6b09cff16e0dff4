"""The daemon as a process: spawned, at rest, imported; and the store's two commonest calls over gRPC."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc
import lmdb
import psutil
from google.protobuf.struct_pb2 import Struct
from grpc_health.v1 import health_pb2, health_pb2_grpc
from measure import Line, anonymous_mb, median_ms, paired_ms, report
from oblix.v1 import messages_pb2, sessions_pb2, sessions_pb2_grpc
from stores import BarePut
from support.drivers.daemon import RunningDaemon, run_daemon

ROUNDS = 400
SESSIONS = 10_000
REST_S = 20.0
UNTIL_REST_S = 35.0
"""For half a minute after the last call the daemon samples as often as while it is used."""


def main() -> int:
    """All of it: at rest on a daemon that nobody calls, the rest on another one."""
    with tempfile.TemporaryDirectory(dir="/tmp") as home, run_daemon(Path(home)) as daemon:
        results = [report("At rest", at_rest(daemon))]
    with tempfile.TemporaryDirectory(dir="/tmp") as home, run_daemon(Path(home)) as daemon:
        results += [
            report("Append one message, durably", append(daemon, Path(home))),
            report(f"List at {SESSIONS:,} sessions", filtered_list(daemon)),
        ]
    results.append(report("Start", start()))
    return max(results)


def start() -> list[Line]:
    """From spawn to SERVING, and what importing the client costs."""
    spawned = [_spawn_s() for _ in range(5)]
    oblix, bare = paired_ms([lambda: _run("import oblix"), lambda: _run("import grpc")], 20)
    return [
        Line("spawn to SERVING", statistics.median(spawned), "s", 1.0),
        Line("import oblix / import grpc", oblix / bare, "x", 1.3),
    ]


def at_rest(daemon: RunningDaemon) -> list[Line]:
    """Memory that is the process's own, and the share of a core over a while in which nobody calls.

    The channel is closed: a connection that is open costs gRPC's threads something on both sides.
    """
    process = psutil.Process(daemon.process.pid)
    daemon.channel.close()
    time.sleep(UNTIL_REST_S)
    before = sum(process.cpu_times()[:2])
    time.sleep(REST_S)
    core_percent = (sum(process.cpu_times()[:2]) - before) / REST_S * 100
    return [
        Line("memory", anonymous_mb(process.pid), "MB", 100),
        Line("one core", core_percent, "%", 0.5),
    ]


def append(daemon: RunningDaemon, home: Path) -> list[Line]:
    """Against a bare gRPC call and a bare LMDB transaction that writes the same and its indexes."""
    stub = sessions_pb2_grpc.SessionServiceStub(daemon.channel)
    session = stub.CreateSession(sessions_pb2.CreateSessionRequest(session=session_with_labels(0))).session
    message = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text="x" * 200)])
    request = sessions_pb2.AppendMessagesRequest(session_id=session.id, messages=[message])
    health, check = health_pb2_grpc.HealthStub(daemon.channel), health_pb2.HealthCheckRequest()
    with lmdb.open(str(home / "bare"), map_size=1 << 30, max_dbs=4) as environment:
        put = BarePut(environment)
        ours, call, write = paired_ms(
            [lambda: stub.AppendMessages(request), lambda: health.Check(check), put], ROUNDS
        )
    return [
        Line("bare gRPC call", call, "ms"),
        Line("bare indexed LMDB transaction", write, "ms"),
        Line("append", ours, "ms"),
        Line("append / (call + transaction)", ours / (call + write), "x", 2.0),
    ]


def filtered_list(daemon: RunningDaemon) -> list[Line]:
    """The newest, and those that two keys name of which the rarer matches one in a hundred."""
    stub = sessions_pb2_grpc.SessionServiceStub(daemon.channel)
    fill(stub)
    wanted = Struct()
    wanted.update({"kind": "odd", "hundredth": 7})
    newest = sessions_pb2.ListSessionsRequest(page_size=50)
    matching = sessions_pb2.ListSessionsRequest(page_size=50, filter=wanted)
    assert len(stub.ListSessions(matching).sessions) == 50
    return [
        Line("50 newest", median_ms(lambda: stub.ListSessions(newest), 100), "ms", 5),
        Line("50 of two keys", median_ms(lambda: stub.ListSessions(matching), 100), "ms", 5),
    ]


def fill(stub: sessions_pb2_grpc.SessionServiceStub) -> None:
    """Makes the sessions, many at once, so that they share their syncs."""
    pending: list[grpc.Future[sessions_pb2.CreateSessionResponse]] = []
    for number in range(SESSIONS):
        pending.append(
            stub.CreateSession.future(sessions_pb2.CreateSessionRequest(session=session_with_labels(number)))
        )
        if len(pending) == 256:
            for call in pending:
                call.result()
            pending.clear()
    for call in pending:
        call.result()


def session_with_labels(number: int) -> sessions_pb2.Session:
    """A session with three metadata keys."""
    session = sessions_pb2.Session(title=f"Session {number}")
    session.metadata.update({"kind": "odd" if number % 2 else "even", "hundredth": number % 100, "all": True})
    return session


def _spawn_s() -> float:
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        began = time.perf_counter()
        with run_daemon(Path(home)):
            return time.perf_counter() - began


def _run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":
    raise SystemExit(main())
