"""The command `oblix` as a person runs it: a process of its own, against a daemon and a model server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from oblix.testing import OllamaServer
from support.drivers.command_server import CommandServer
from support.drivers.daemon import run_daemon

COMMAND = [sys.executable, "-m", "oblix"]
WAIT_S = 60.0

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def daemon_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a daemon that the tests of one file share. It has no models of its own."""
    home = tmp_path_factory.mktemp("cli")
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false"):
        yield home


@pytest.fixture
def ollama() -> Iterator[OllamaServer]:
    with OllamaServer(["llama2"]) as server:
        yield server


@pytest.fixture
def oblix(daemon_home: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Run:
    """Runs the command and returns what it did. `ok=True` (the default) insists on exit code 0."""
    monkeypatch.setenv("OBLIX_HOME", str(daemon_home))
    return run


@pytest.fixture
def ask(oblix: Run, ollama: OllamaServer) -> Run:
    """`oblix ask` with the model server's model."""
    model = ["--model", "ollama:llama2", "--endpoint", ollama.url]
    return lambda *words, **options: oblix("ask", *model, *words, **options)


@pytest.fixture(scope="session", autouse=True)
def command_server() -> Iterator[CommandServer]:
    """Started before any test looks at what processes it leaves behind."""
    server = CommandServer()
    yield server
    server.close()


@pytest.fixture
def run(command_server: CommandServer) -> Run:
    """Runs the command with the environment as it is, and with what a test adds to it."""

    def run(
        *words: str, stdin: str = "", ok: bool = True, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **environ}
        done = command_server.run([*words], stdin=stdin, environ=environment, timeout=WAIT_S)
        assert not ok or done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def start(oblix: Run) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command and leaves it running; what is still there afterwards is killed."""
    started = []

    def start(*words: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        started.append(subprocess.Popen([*COMMAND, *words], stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def oblix_alone(run: Run) -> Run:
    """Runs the command in the test's own home, where no daemon runs at first."""
    return run
