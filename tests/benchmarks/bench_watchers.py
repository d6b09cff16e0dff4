"""A lone append beside 500 watchers of five filters, and beside none, in turn against two daemons."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
from measure import Line, report
from oblix.v1 import messages_pb2, sessions_pb2, sessions_pb2_grpc
from support.drivers.conversations import struct
from support.drivers.daemon import RunningDaemon, run_daemon
from support.drivers.grpc_calls import Wire

WATCHERS, FILTERS, CHANNELS = 500, 5, 10
APPENDS = 25
APART_S = 0.3
"""An append is alone: what the one before set off is over."""
MOST = 2.0


def main() -> int:
    """Both, in directories of their own."""
    with tempfile.TemporaryDirectory(prefix="oblix-", dir="/tmp") as directory:
        home = Path(directory)
        with _daemon(home / "none") as none, _daemon(home / "many") as many, _watching(many.socket):
            took, used = _measure((none, many))
    matching = WATCHERS // FILTERS * APPENDS
    return report(
        f"A lone append, {WATCHERS} watchers of {FILTERS} filters ({matching // APPENDS} match)",
        [
            Line("without watchers, median", took[0], "ms"),
            Line("with them, median", took[1], "ms"),
            Line("times as long", took[1] / took[0], "x", MOST),
            Line("processor time for each watcher that is told", (used[1] - used[0]) * 1e6 / matching, "us"),
        ],
    )


@contextmanager
def _daemon(home: Path) -> Iterator[RunningDaemon]:
    home.mkdir(0o700)
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false") as daemon:
        yield daemon


@contextmanager
def _watching(socket: Path) -> Iterator[None]:
    """A process whose watchers are there once it says so."""
    command = [sys.executable, __file__, str(socket)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == str(WATCHERS)
        yield
        process.terminate()


def _measure(daemons: tuple[RunningDaemon, RunningDaemon]) -> tuple[list[float], list[float]]:
    """Medians in ms, and what processor time each daemon used, in seconds."""
    note = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text="Hi")])
    wires = [Wire(daemon.channel) for daemon in daemons]
    processes = [psutil.Process(daemon.process.pid) for daemon in daemons]
    sessions = [wire.session(metadata=struct(kind=0.0)) for wire in wires]
    time.sleep(APART_S)
    before = [_used_s(process) for process in processes]
    times: list[list[float]] = [[], []]
    for _ in range(APPENDS):
        for wire, session, own in zip(wires, sessions, times, strict=True):
            began = time.perf_counter()
            wire.sessions.AppendMessages(
                sessions_pb2.AppendMessagesRequest(session_id=session, messages=[note]), timeout=60
            )
            own.append((time.perf_counter() - began) * 1e3)
            time.sleep(APART_S)
    used = [_used_s(process) - first for process, first in zip(processes, before, strict=True)]
    return [statistics.median(own) for own in times], used


def _used_s(process: psutil.Process) -> float:
    return process.cpu_times().user + process.cpu_times().system


async def _watch(socket: str) -> None:
    ready: asyncio.Queue[None] = asyncio.Queue()

    async def follow(stub: sessions_pb2_grpc.SessionServiceStub, number: int) -> None:
        request = sessions_pb2.WatchSessionsRequest(filter=struct(kind=float(number % FILTERS)))
        async for event in stub.WatchSessions(request):
            if event.HasField("synced"):
                ready.put_nowait(None)

    apart = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(f"unix:{socket}", options=apart) for _ in range(CHANNELS)]
    stubs = [sessions_pb2_grpc.SessionServiceStub(channel) for channel in channels]
    following = [asyncio.create_task(follow(stubs[n % CHANNELS], n)) for n in range(WATCHERS)]
    for _ in range(WATCHERS):
        await ready.get()
    print(WATCHERS, flush=True)
    await asyncio.gather(*following)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(_watch(sys.argv[1]))
    else:
        sys.exit(main())
