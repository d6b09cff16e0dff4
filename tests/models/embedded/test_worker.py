"""The embedded model's process by itself: three ways to learn that the daemon has ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from oblixd.models.embedded import weights

WAIT_S = 60.0
PARENT = "import subprocess, sys; subprocess.run(sys.argv[1:])"


@pytest.fixture
def command(home: Path) -> list[str]:
    """Serves the default weights on a socket of the test's own."""
    options = {"--model": weights.find(None).path, "--socket": home / "w.sock"}
    numbers = {"--context": 256, "--slots": 1, "--threads": 1}
    flat = [str(word) for pair in {**options, **numbers}.items() for word in pair]
    return [sys.executable, "-P", "-m", "oblixd.models.embedded.worker", *flat]


def start_worker(command: list[str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)


def test_it_ends_when_its_input_closes(command: list[str]) -> None:
    with start_worker(command) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline().startswith("ready")
        process.stdin.close()
        assert process.wait(WAIT_S) == 0


def test_it_does_not_begin_to_load_when_its_input_is_closed(command: list[str]) -> None:
    run = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert "the daemon has ended" in run.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it ends once it is loaded")
def test_it_ends_with_its_parent_although_its_input_stays_open(command: list[str]) -> None:
    with start_worker([sys.executable, "-c", PARENT, *command]) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith("ready")
        [worker] = psutil.Process(parent.pid).children()
        os.kill(parent.pid, 9)
        assert psutil.wait_procs([worker], timeout=WAIT_S)[1] == []
