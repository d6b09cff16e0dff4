"""A machine that sleeps, a clock that jumps, a home that is removed: what a daemon makes of it."""

from __future__ import annotations

import asyncio
import shutil
import signal
from pathlib import Path

import psutil
import pytest
from oblix import OblixClient
from oblix.testing import Answer, OllamaServer
from oblix.v1 import daemon_pb2, monitor_pb2, monitor_pb2_grpc
from support.drivers import processes
from support.drivers.daemon import WAIT_S, run_daemon
from support.drivers.grpc_calls import TIMEOUT_S, Wire
from support.drivers.waiting import eventually
from support.faults.machine_faults import Controls

QUIET = {"OBLIX_EMBEDDED_ENABLED": "false"}
YEAR_S = 365 * 24 * 3600


def remove_contents(directory: Path) -> None:
    for path in directory.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


async def test_an_answer_goes_on_where_a_suspended_machine_left_it(
    launching: OblixClient, ollama: OllamaServer, home: Path
) -> None:
    """Stopped, a process sees what a sleep looks like: all clocks have moved on when it goes on."""
    ollama.script(Answer("one two three four five six", tokens_per_second=10))
    session = await launching.create_and_use_session()
    asked = asyncio.create_task(launching.execute("Count", stream=False))
    await asyncio.to_thread(ollama.wait_for_requests, 1)
    daemon = processes.daemon_of(home)
    daemon.send_signal(signal.SIGSTOP)
    await eventually(lambda: daemon.status() == psutil.STATUS_STOPPED)
    await asyncio.sleep(2.0)  # the sleep itself
    daemon.send_signal(signal.SIGCONT)
    assert (await asked)["response"] == "one two three four five six"
    assert launching.load_session(session) is not None
    assert (await launching.execute("And on", stream=False))["response"] == "You said: And on"


@pytest.mark.parametrize("offset_s", [YEAR_S, -YEAR_S], ids=["ahead", "back"])
def test_a_jump_of_the_clock_changes_no_order_and_loses_nothing(home: Path, offset_s: int) -> None:
    controls = Controls(home)
    with OllamaServer(["llama2"]) as server, run_daemon(home, **QUIET, **controls.environ) as daemon:
        wire = Wire(daemon.channel)
        handle, session = wire.hook(server.url), wire.session(title="kept")
        list(wire.execute("Before", session_id=session, candidates=[handle]))
        controls.set(clock_offset_s=offset_s)
        list(wire.execute("After", session_id=session, candidates=[handle]))
        # An idle exit, a deadline or a watch that went by the wall clock would strike now.
        snapshots = monitor_pb2_grpc.MonitorServiceStub(daemon.channel)
        stream = snapshots.WatchSnapshots(monitor_pb2.WatchSnapshotsRequest(), timeout=TIMEOUT_S)
        for _ in range(2):
            next(stream)
        stream.cancel()
        assert wire.daemon.GetInfo(daemon_pb2.GetInfoRequest(), timeout=TIMEOUT_S).pid == daemon.process.pid
    with run_daemon(home, **QUIET) as daemon:
        texts = [message.parts[0].text for message in Wire(daemon.channel).messages(session)]
    assert texts == ["Before", "You said: Before", "After", "You said: After"]


async def test_a_home_that_was_removed_makes_room_for_a_new_daemon(
    launching: OblixClient, home: Path
) -> None:
    await launching.create_session("gone")
    before = processes.daemon_of(home)
    remove_contents(home)
    await asyncio.to_thread(before.wait, WAIT_S)
    assert await launching.create_session("new")
    assert [one["title"] for one in launching.list_sessions()] == ["new"]
    assert processes.daemon_of(home) != before
