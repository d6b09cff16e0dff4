"""What clients can make the daemon hold: photos, waiting prompts and large messages stay within the limit.

Each measures a real daemon from outside: the peak of its own memory (`RssAnon`) and of all that is resident,
and how long a small call waits meanwhile. `-s` shows the figures.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from oblix.testing import Answer, OpenAIServer
from oblix.v1 import executions_pb2, messages_pb2, models_pb2, routing_pb2, sessions_pb2
from support.drivers.daemon import RunningDaemon, run_daemon
from support.drivers.grpc_calls import Wire

MB = 1_000_000
MIB = 1 << 20
PHOTO = b"\x89PNG" + b"\xa5" * (5 * MB)
LONG_S = 120.0
LARGE = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


class Meter:
    """Looks at a process's memory every 10 ms."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._stop = threading.Event()
        self.own_mb = self.all_mb = 0.0
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._stop.wait(0.01):
            lines = dict(line.split(":", 1) for line in self._status.read_text().splitlines())
            self.own_mb = max(self.own_mb, int(lines["RssAnon"].split()[0]) / 1e3)
            self.all_mb = max(self.all_mb, int(lines["VmRSS"].split()[0]) / 1e3)

    @contextmanager
    def run(self) -> Iterator[Meter]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()


ASK = """
import sys, time, grpc
from oblix.v1 import daemon_pb2 as d, daemon_pb2_grpc, messages_pb2 as m, sessions_pb2 as s, sessions_pb2_grpc
channel = grpc.insecure_channel("unix:" + sys.argv[1])
if sys.argv[2]:
    said = m.Message(role=1, parts=[m.Part(text="Hi")])
    note = s.AppendMessagesRequest(session_id=sys.argv[2], messages=[said])
    call, request = sessions_pb2_grpc.SessionServiceStub(channel).AppendMessages, note
else:
    call, request = daemon_pb2_grpc.DaemonServiceStub(channel).GetInfo, d.GetInfoRequest()
call(request, timeout=60)
print("ready", flush=True)
waits = []
import select
while not select.select([sys.stdin], [], [], 0.02)[0]:
    began = time.monotonic()
    call(request, timeout=60)
    waits.append(time.monotonic() - began)
waits.sort()
print(len(waits), waits[len(waits) // 2], waits[-1])
"""


@contextmanager
def asking(daemon: RunningDaemon, session: str = "") -> Iterator[list[str]]:
    """A process that makes a small call, again and again beside a block; how many, and what they took."""
    command = [sys.executable, "-c", ASK, str(daemon.socket), session]
    heard: list[str] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield heard
        count, median, longest = process.communicate("done")[0].split()
        heard.append(f"{count} calls, {float(median) * 1e3:.0f} ms, {float(longest) * 1e3:.0f} ms at most")


@pytest.fixture
def daemon(home: Path) -> Iterator[RunningDaemon]:
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false") as daemon:
        yield daemon


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


def channel(daemon: RunningDaemon, number: int = 0) -> grpc.Channel:
    """A connection of its own, as each process has one."""
    return grpc.insecure_channel(f"unix:{daemon.socket}", options=[*LARGE, ("oblix.number", number)])


def hook(wire: Wire, server: OpenAIServer, max_running: int) -> str:
    request = models_pb2.HookModelRequest(
        provider=models_pb2.PROVIDER_CUSTOM,
        name="gpt-4o-mini",
        endpoint=server.url,
        location=routing_pb2.LOCATION_CLOUD,
    )
    request.options["max_running"] = max_running
    return wire.models.HookModel(request, timeout=LONG_S).handle


def photo_prompt(handle: str, **fields: object) -> executions_pb2.ExecuteRequest:
    parts = [
        messages_pb2.Part(image=messages_pb2.ImagePart(media_type="image/png", data=PHOTO)),
        messages_pb2.Part(text="What is this?"),
    ]
    given = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=parts)
    return executions_pb2.ExecuteRequest(input=[given], candidates=[handle], **fields)


def large_prompt(handle: str, **fields: object) -> executions_pb2.ExecuteRequest:
    image = messages_pb2.ImagePart(media_type="image/png", data=b"\xa5" * (8 * MB - 1000))
    given = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(image=image)])
    given.parts.add(text="And this?")
    return executions_pb2.ExecuteRequest(input=[given], candidates=[handle], **fields)


def print_growth(what: str, meter: Meter) -> None:
    print(f"\n{what}: {meter.own_mb:.0f} MB of its own, {meter.all_mb:.0f} MB resident at most")


def refusal(call: Iterator[executions_pb2.ExecuteResponse]) -> grpc.StatusCode | None:
    try:
        for _ in call:
            pass
    except grpc.RpcError as error:
        return error.code()
    return None


@pytest.mark.parametrize("is_kept", [False, True], ids=["no session", "a session each"])
def test_photos(daemon: RunningDaemon, server: OpenAIServer, is_kept: bool) -> None:
    wire = Wire(channel(daemon))
    handle = hook(wire, server, 4)
    with Meter(daemon.process.pid).run() as meter:
        for _ in range(120):
            session = {"session_id": wire.session()} if is_kept else {}
            assert refusal(wire.executions.Execute(photo_prompt(handle, **session), timeout=LONG_S)) is None
            server.requests.clear()
            server.calls.clear()
    print_growth("120 photos of 5 MB, one after another", meter)
    assert meter.own_mb < 300


def test_waiting_prompts(daemon: RunningDaemon, server: OpenAIServer) -> None:
    """All of one client, then of many: what there is no room for is refused, the rest is answered."""
    may_answer = threading.Event()

    def answer(_question: str) -> Answer:
        may_answer.wait(LONG_S)
        return Answer("Yes.")

    server.default = answer
    wire = Wire(channel(daemon))
    handle = hook(wire, server, 1)

    def ask(number: int) -> grpc.StatusCode | None:
        own = channel(daemon, number)
        call = Wire(own).executions.Execute(
            large_prompt(handle), timeout=LONG_S, metadata=[("oblix-client", f"client {number % 20}")]
        )
        return refusal(call)

    with (
        Meter(daemon.process.pid).run() as meter,
        ThreadPoolExecutor(60) as pool,
        asking(daemon) as small,
    ):
        asked = [pool.submit(ask, number) for number in range(60)]
        until = time.monotonic() + 30
        while time.monotonic() < until:
            listed = wire.executions.ListExecutions(executions_pb2.ListExecutionsRequest())
            if len(listed.executions) + sum(one.done() for one in asked) >= 60:
                break
            time.sleep(0.2)
        waiting = len(listed.executions)
        may_answer.set()
        ends = [one.result() for one in asked]
    print_growth(f"60 prompts of 8 MB at once, {waiting} waited, {ends.count(None)} answered", meter)
    print("a small call meanwhile:", *small)
    assert set(ends) <= {None, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert ends.count(None) >= 4
    assert meter.own_mb < 300


def test_large_messages(daemon: RunningDaemon) -> None:
    wire = Wire(channel(daemon))
    text = "x" * (8 * MB - 1000)
    large = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=text)])
    notes = wire.session()

    def add(number: int) -> int:
        own = Wire(channel(daemon, number))
        session, added = own.session(), 0
        metadata = [("oblix-client", f"client {number}")]
        for _ in range(2):
            request = sessions_pb2.AppendMessagesRequest(session_id=session, messages=[large])
            call = own.sessions.AppendMessages.future(request, timeout=LONG_S, metadata=metadata)
            assert call.code() in (grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED)
            added += call.code() is grpc.StatusCode.OK
        return added

    with (
        Meter(daemon.process.pid).run() as meter,
        ThreadPoolExecutor(16) as pool,
        asking(daemon) as reads,
        asking(daemon, notes) as appends,
    ):
        added = sum(pool.map(add, range(16)))
    print_growth(f"16 clients with messages of 8 MB, {added} of 32 taken", meter)
    print("a small read meanwhile:", *reads)
    print("a small append meanwhile:", *appends)
    assert meter.own_mb < 600
    assert added >= 16
