"""`oblix top` on a terminal: it draws, follows the window's size, waits for a daemon, and leaves no trace."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.drivers.daemon import run_daemon
from support.drivers.terminal import Terminal, terminal

# The helper's terminals tell their size by COLUMNS, which would outrank the real one.
TOP = ["env", "-u", "COLUMNS", sys.executable, "-m", "oblix", "top"]
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


@pytest.fixture
def screen(daemon_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("OBLIX_HOME", str(daemon_home))
    with terminal(*TOP) as shown:
        shown.resize(80, 24)
        shown.wait_for("memory")
        yield shown


def exit_code_of(screen: Terminal) -> int:
    screen.rest()
    return screen.process.wait(60)


@pytest.mark.parametrize("key", ["q", "\x1b", "\x03"], ids=["q", "Escape", "Ctrl-C"])
def test_a_key_ends_it_and_gives_the_terminal_back(screen: Terminal, key: str) -> None:
    screen.type(key)
    assert exit_code_of(screen) == 0
    assert ENTER in screen.raw
    assert LEAVE in screen.raw.split(ENTER)[-1]
    assert "Traceback" not in screen.text


def test_an_arrow_key_and_ctrl_z_do_nothing(screen: Terminal) -> None:
    screen.type("\x1b[A\x1a")
    screen.wait_for("memory")
    screen.type("q")
    assert exit_code_of(screen) == 0


def test_sigterm_ends_it_and_gives_the_terminal_back(screen: Terminal) -> None:
    top = psutil.Process(screen.process.pid)
    (top.children() or [top])[0].send_signal(signal.SIGTERM)
    assert exit_code_of(screen) == 0
    assert LEAVE in screen.raw


def test_it_follows_the_size_of_the_window(screen: Terminal) -> None:
    screen.wait_for("DECIDED")
    screen.resize(60, 9)
    while "DECIDED" in screen.wait_for("oblix top"):
        pass  # frames from before
    screen.resize(100, 30)
    screen.wait_for("DECIDED")


def test_it_waits_for_a_daemon_and_goes_on_when_one_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBLIX_HOME", str(tmp_path))
    with terminal(*TOP) as screen:
        screen.wait_for("waiting for oblixd")
        for _ in range(2):
            with run_daemon(tmp_path, OBLIX_EMBEDDED_ENABLED="false"):
                screen.wait_for("memory")
            screen.wait_for("waiting for oblixd")
        screen.type("q")
        assert exit_code_of(screen) == 0


def test_where_nobody_looks_it_is_printed_once(oblix) -> None:
    done = oblix("top", NO_COLOR="1")
    assert "CPU" in done.stdout
    assert "nothing runs" in done.stdout
    assert "\x1b" not in done.stdout
    assert [line for line in done.stdout.splitlines() if line != line.rstrip()] == []


def test_once_without_a_daemon_it_says_so(tmp_path: Path, oblix) -> None:
    done = oblix("top", "--once", ok=False, OBLIX_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "no daemon runs" in done.stderr
    why = done.stderr.strip().removeprefix("oblix: ")
    assert len(f"waiting for oblixd: {why}") <= 80
    assert not list(tmp_path.iterdir())
