"""The programs of docs/how-to/go.md and java.md, built and run as they stand there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from oblix.testing import Answer, OpenAIServer
from oblix.testing.faults import Stall
from oblix.v1 import daemon_pb2, daemon_pb2_grpc
from support.drivers.daemon import RunningDaemon, run_daemon
from support.repository.pages import blocks, console_scripts

pytestmark = pytest.mark.languages

ANSWER = "Moss grows in shade."
LONGEST_S = 600
JARS = (
    "grpc-api", "grpc-context", "grpc-core", "grpc-netty", "grpc-protobuf", "grpc-protobuf-lite", "grpc-stub",
    "guava", "protobuf", "jsr305", "error_prone_annotations", "geronimo-annotation-1.3-spec", "perfmark-api",
    "netty-buffer", "netty-codec", "netty-codec-http", "netty-codec-http2", "netty-common", "netty-handler",
    "netty-resolver", "netty-transport", "opencensus-api",
)  # fmt: skip
"""Where Debian puts the jars of the packages that the page names."""
CONFIG = """
[[models]]
name = "small"
provider = "custom"
endpoint = "{url}"
location = "local"
[embedded]
enabled = false
[[listen]]
address = "tcp://127.0.0.1:0"
"""


@dataclass(frozen=True)
class Program:
    """How a program of a page is called, up to the question."""

    words: tuple[str, ...]

    def start(self, question: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*self.words, question], stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(["small"]) as server:
        yield server


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, server: OpenAIServer) -> Iterator[RunningDaemon]:
    home = tmp_path_factory.mktemp("languages")
    (home / "config.toml").write_text(CONFIG.format(url=server.url))
    with run_daemon(home) as daemon:
        yield daemon


@pytest.fixture(scope="module", params=["go", "java"])
def program(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, daemon: RunningDaemon
) -> Program:
    """Build it: by the page's commands and of the page's program, nothing else."""
    return {"go": _go, "java": _java}[request.param](tmp_path_factory.mktemp(request.param), daemon)


def test_the_program_of_the_page_prints_the_answer(program: Program, server: OpenAIServer) -> None:
    server.script(ANSWER)
    process = program.start("What grows in shade?")
    shown, _ = process.communicate(timeout=LONGEST_S)
    assert (process.returncode, shown) == (0, ANSWER)
    assert server.requests[-1].body["messages"][-1]["content"] == "What grows in shade?"


def test_ctrl_c_frees_the_model(program: Program, server: OpenAIServer) -> None:
    server.script(Answer("one two three four", fault=Stall(after=2)))
    process = program.start("Count.")
    assert process.stdout is not None
    assert process.stdout.read(3) == "one"
    process.send_signal(signal.SIGINT)
    assert server.requests[-1].abandoned.wait(60)
    process.communicate(timeout=60)


def _go(folder: Path, daemon: RunningDaemon) -> Program:
    _need("go", "protoc", "protoc-gen-go", "protoc-gen-go-grpc")
    package = folder / "src/example"
    (package / "ask").mkdir(parents=True)
    _run_block("go.md", package)
    (package / "ask/main.go").write_text(blocks("go.md", "go")[0])
    binary = folder / "ask"
    # What Debian packages stands there; a module's own cache would do as well.
    environ = {"GO111MODULE": "off", "GOPATH": f"{folder}:/usr/share/gocode", "GOFLAGS": ""}
    _run("go", "build", "-o", binary, ".", cwd=package / "ask", **environ)
    return Program((str(binary), str(daemon.socket)))


def _java(folder: Path, daemon: RunningDaemon) -> Program:
    _need("javac", "java", "protoc", "grpc_java_plugin")
    _run_block("java.md", folder)
    (folder / "Ask.java").write_text(blocks("java.md", "java")[0])
    jars = [Path("/usr/share/java") / f"{name}.jar" for name in JARS]
    if missing := [jar.name for jar in jars if not jar.exists()]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    path = ":".join(map(str, [folder, *jars]))
    _run(
        "javac",
        "-nowarn",
        "-cp",
        path,
        "-d",
        folder,
        "Ask.java",
        *folder.rglob("oblix/v1/*.java"),
        cwd=folder,
    )
    (address,) = (
        daemon_pb2_grpc.DaemonServiceStub(daemon.channel).GetInfo(daemon_pb2.GetInfoRequest()).addresses
    )
    port = address.rpartition(":")[2]
    token = _run(sys.executable, "-m", "oblix", "tokens", "create", "java", "--scope", "execute",
                 cwd=folder, OBLIX_HOME=str(daemon.home)).strip()  # fmt: skip
    return Program(("java", "-cp", path, "Ask", port, token))


def _need(*commands: str) -> None:
    if missing := [command for command in commands if shutil.which(command) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")


def _run_block(page: str, folder: Path) -> None:
    """Run the first commands of a page: those that generate the stubs."""
    environ = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    _run("bash", "-euc", console_scripts(page)[0], cwd=folder, **environ)


def _run(*words: object, cwd: Path, **environ: str) -> str:
    done = subprocess.run(
        [str(word) for word in words], check=False, cwd=cwd, env={**os.environ, **environ},
        capture_output=True, text=True, timeout=LONGEST_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
