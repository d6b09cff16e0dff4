"""Starting the daemon."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from oblix import DaemonStartError, OblixClient
from oblix._launcher import launch
from support.drivers import processes
from support.drivers.waiting import eventually, wait_until

from oblixd import __version__

ASK = """
import asyncio, sys
from oblix import OblixClient
sys.stdin.readline()
client = OblixClient()
print(asyncio.run(client.create_session("one of ten")))
"""


@pytest.fixture(autouse=True)
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBLIX_EMBEDDED_ENABLED", "false")


def daemons(home: Path) -> list[psutil.Process]:
    return [one for one in processes.of(home) if "oblixd" in one.cmdline()]


def test_ten_processes_at_once_get_one_daemon_and_are_all_served(home: Path) -> None:
    askers = [
        subprocess.Popen(
            [sys.executable, "-c", ASK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(10)
    ]
    for asker in askers:
        asker.stdin.write("now\n")
        asker.stdin.flush()
    ids = [asker.communicate(timeout=60)[0].strip() for asker in askers]
    assert [asker.returncode for asker in askers] == [0] * 10
    # It outlives the program that started it.
    listed = OblixClient().list_sessions(filter_metadata={})
    assert len(daemons(home)) == 1
    assert {session["id"] for session in listed} == set(ids)
    assert (home / "oblixd.log").read_text().count("serving on") == 1


def test_many_threads_at_once_get_one_daemon(home: Path) -> None:
    client = OblixClient()
    together = threading.Barrier(16)

    def call() -> list[object]:
        together.wait(60)
        return client.list_sessions()

    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(call) for _ in range(16)]
        assert [answer.result(45) for answer in answers] == [[]] * 16
    assert len(daemons(home)) == 1


def test_the_daemon_is_detached_and_knows_little_of_us(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("OBLIX_API_KEY", "oblix-canary")
    monkeypatch.setenv("PYTHONSTARTUP", "/nowhere")
    OblixClient().list_sessions()
    (daemon,) = daemons(home)
    assert os.getsid(daemon.pid) == daemon.pid
    assert daemon.cwd() == "/"
    assert _umask(daemon.pid) == 0o077
    allowed = {"PATH", "HOME", "LANG", "LC_CTYPE"}  # the last is Python's own doing
    assert all(name in allowed or name.startswith(("XDG_", "OBLIX_")) for name in daemon.environ())
    assert "canary" not in str(daemon.environ())
    links = {number: str(Path(f"/proc/{daemon.pid}/fd/{number}").readlink()) for number in (0, 1, 2)}
    assert links == {0: "/dev/null", 1: str(home / "oblixd.log"), 2: str(home / "oblixd.log")}
    assert (home / "oblixd.log").stat().st_mode & 0o777 == 0o600


def _umask(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("Umask:")), 8)


def test_a_failing_start_says_why_and_where_the_log_is(home: Path) -> None:
    (home / "config.toml").write_text("[daemon]\ngrace = 1\n")
    with pytest.raises(DaemonStartError) as caught:
        OblixClient().list_sessions()
    error = caught.value
    assert error.reason == "DAEMON_FAILED"
    assert "grace" in error.message
    assert "config.toml" in error.message
    assert "\n" not in error.message
    assert f"Its log is {home / 'oblixd.log'}." in error.message
    assert error.metadata == {"log": str(home / "oblixd.log")}
    assert not daemons(home)
    (home / "config.toml").unlink()
    assert OblixClient().list_sessions() == []


async def test_a_failing_start_fails_async_calls_the_same_way(home: Path) -> None:
    (home / "config.toml").write_text("nonsense")
    client = OblixClient()
    with pytest.raises(DaemonStartError):
        await client.create_session()
    with pytest.raises(DaemonStartError):
        await client.execute("Hello", stream=False)


async def test_calls_that_wait_for_a_failing_start_fail_with_it(home: Path) -> None:
    (home / "config.toml").write_text("nonsense")
    client = OblixClient()
    calls = [client.create_session() for _ in range(30)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {DaemonStartError}
    starts = (home / "oblixd.log").read_text().count("config.toml")
    assert 1 <= starts < 10


def test_a_place_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OBLIX_HOME", "relative/home")
    with pytest.raises(DaemonStartError, match="OBLIX_HOME must be an absolute path"):
        OblixClient().list_sessions()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OBLIX_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(DaemonStartError, match="Not a directory"):
        OblixClient().list_sessions()


def test_a_home_that_cannot_be_used_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where a directory should be")
    monkeypatch.delenv("OBLIX_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DaemonStartError) as caught:
        OblixClient().list_sessions()
    assert caught.value.reason == "UNUSABLE_PLACE"
    assert caught.value.message.endswith("Set OBLIX_HOME to a directory that you can write to.")


async def test_the_loop_goes_on_while_a_daemon_starts(home: Path) -> None:
    client = OblixClient()
    task = asyncio.create_task(client.create_session())
    ticks = 0
    while not task.done():
        await asyncio.sleep(0.005)
        ticks += 1
    assert await task
    assert ticks > 5


def test_a_socket_that_a_dead_daemon_left_is_no_obstacle(home: Path) -> None:
    OblixClient().list_sessions()
    (daemon,) = daemons(home)
    daemon.kill()
    daemon.wait(60)
    assert (home / "oblixd.sock").exists()
    assert OblixClient().list_sessions() == []


@pytest.mark.parametrize("name", ["with a späce", "x" * 150])
def test_odd_and_long_homes_work(home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    odd = home / name
    odd.mkdir(mode=0o700)
    monkeypatch.setenv("OBLIX_HOME", str(odd))
    try:
        assert OblixClient().list_sessions() == []
        assert len(daemons(odd)) == 1
    finally:
        processes.stop_all_of(odd)


def test_our_own_unit_is_started_where_it_is_installed(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A stand-in for systemctl notes how it was called and starts the daemon as the unit would."""
    units = tmp_path / "config" / "systemd" / "user"
    units.mkdir(parents=True)
    (units / "oblixd.service").write_text("")
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n'
        f"OBLIX_HOME={home} setsid {sys.executable} -m oblixd </dev/null >/dev/null 2>&1 &\n"
        f"while ! [ -S {home}/oblixd.sock ]; do sleep 0.02; done\n"
    )
    systemctl.chmod(0o700)
    monkeypatch.delenv("OBLIX_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("PATH", f"{systemctl.parent}:{os.environ['PATH']}")
    (tmp_path / "oblix").mkdir(mode=0o700)
    (tmp_path / "oblix" / "socket").write_text(str(home / "oblixd.sock"))
    assert OblixClient().list_sessions() == []
    # On a busy machine the client asks again, and what is started then finds the lock taken.
    calls = (tmp_path / "calls").read_text().splitlines()
    assert set(calls) == {"--user --no-ask-password start oblixd.service"}
    wait_until(lambda: len(daemons(home)) == 1)


def test_a_process_that_holds_the_lock_and_does_not_serve_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as impatient, (home / "oblixd.lock").open("w") as lock:
        # Only here: on a busy machine the start at the end takes longer.
        impatient.setattr(launch, "WAIT_S", 2.0)
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"pid 4242, version {__version__}, socket somewhere")
        lock.flush()
        with pytest.raises(DaemonStartError, match="process 4242 holds its lock") as caught:
            OblixClient().list_sessions()
    assert "`kill -9 4242`" in caught.value.message
    monkeypatch.setattr(launch, "WAIT_S", 30.0)  # a daemon that starts gets its time
    # What is written there outlives who wrote it.
    assert OblixClient().list_sessions() == []


async def test_a_lock_that_is_let_go_in_time_is_taken(home: Path) -> None:
    with (home / "oblixd.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = asyncio.create_task(asyncio.to_thread(OblixClient().list_sessions))
        await eventually(lambda: "already running" in log_of(home))
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert await answer == []


def test_a_daemon_that_starts_slowly_is_waited_for_as_long_as_it_works(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(launch, "WAIT_S", 0.05)
    monkeypatch.setattr(launch, "SLOW_S", 0.0)
    assert OblixClient().list_sessions() == []
    assert f"waiting for oblixd (process {processes.daemon_of(home).pid}) to serve" in caplog.text


@contextmanager
def program(code: str) -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def wait_while_it_goes_on(work: launch._Work, pid: int) -> None:
    until = time.monotonic() + 60
    while work.goes_on(pid):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_process_that_stands_still_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "STANDSTILL_S", 0.2)
    with program("input()") as pid:  # it starts, and then waits for its input
        wait_while_it_goes_on(launch._Work(), pid)
    assert not launch._Work().goes_on(pid)


def test_one_that_works_for_ever_is_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "LONGEST_WAIT_S", 0.5)
    with program("while True: pass") as pid:
        wait_while_it_goes_on(launch._Work(), pid)


def log_of(home: Path) -> str:
    log = home / "oblixd.log"
    return log.read_text() if log.exists() else ""
