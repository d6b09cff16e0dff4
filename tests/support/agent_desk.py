"""A person's machine with one or more agents on it, a daemon, and a model that follows a script."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from oblix.testing import ToolCall
from oblix.v1 import messages_pb2, sessions_pb2, sessions_pb2_grpc
from support.agent_tools import path_of
from support.drivers.daemon import RunningDaemon, run_daemon
from support.servers.agent_model import AgentModel

NOTE, TEXT = "note.txt", "Moss.\n"
LONGEST_RUN_S = 600
CONFIG = """
[[models]]
name = "small"
provider = "custom"
endpoint = "{url}"
location = "local"
context_window = 200000
[embedded]
enabled = false
[http]
enabled = true
port = 0
record = "{record}"
"""


@dataclass(frozen=True)
class Agent:
    """How one agent is run without a terminal."""

    name: str
    """As `oblix run` calls it."""
    asks: tuple[str, ...]
    """Its arguments before a prompt."""
    goes_on: tuple[str, ...]
    """The same, to go on with its newest conversation. Empty: it does so at a terminal only."""
    writes: Callable[[Path], ToolCall | str]
    """What a model answers so that the agent writes a file: a call of its tool, or a text that it reads."""
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """What stands in its home before: no first-start questions, nothing sent home."""
    asks_to_write: tuple[str, ...] = ()
    """Its arguments for a prompt that writes a file, if they are others."""

    def __str__(self) -> str:
        return self.name


def tool(name: str, path: str, content: str) -> Callable[[Path], ToolCall]:
    """A tool that writes a file, by the names of what it takes."""
    return lambda file: ToolCall(name, {path: str(file), content: TEXT}, "call_1")


CODEX = ("exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
CLAUDE = ("--permission-mode", "acceptEdits")
AIDER = ("--yes-always", "--no-git", "--no-show-model-warnings", "--analytics-disable", "--no-check-update")
LLM = ("-m", "oblix")
TOLD_BEFORE = ("cline", "llm")
"""These are started by themselves: what `oblix connect` says is kept in their own settings."""
FUNCTION = f"""def write(path: str) -> str:
    'Write the note.'
    open(path, 'w').write({TEXT!r})
    return 'done'
"""
AGENTS = [
    Agent(
        "aider",
        (*AIDER, "--message"),
        (*AIDER, "--restore-chat-history", "--message"),
        lambda file: f"{file.name}\n```\n{TEXT}```\n",
        {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    ),
    Agent(
        "claude",
        (*CLAUDE, "-p"),
        (*CLAUDE, "--continue", "-p"),
        tool("Write", "file_path", "content"),
        {
            "DISABLE_TELEMETRY": "1",
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        },
    ),
    Agent("cline", (), (), tool("editor", "path", "new_text"), {"CLINE_TELEMETRY_DISABLED": "1"}),
    Agent(
        "continue",
        ("--auto", "-p"),
        ("--auto", "--resume", "-p"),
        tool("Write", "filepath", "content"),
        {"CONTINUE_TELEMETRY_ENABLED": "0"},
    ),
    Agent(
        "codex",
        CODEX,
        (*CODEX, "resume", "--last"),
        lambda file: ToolCall("exec_command", {"cmd": f"printf 'Moss.\\n' > {file}"}, "call_1"),
        files={".codex/config.toml": "check_for_update_on_startup = false\n[analytics]\nenabled = false\n"},
    ),
    Agent("gptme", ("-n",), ("-n", "--resume"), tool("save", "path", "content")),
    Agent(
        "llm",
        LLM,
        (*LLM, "--continue"),
        lambda file: ToolCall("write", {"path": str(file)}, "call_1"),
        asks_to_write=(*LLM, "--functions", FUNCTION),
    ),
    Agent(
        "opencode",
        ("run",),
        ("run", "--continue"),
        tool("write", "filePath", "content"),
        files={".config/opencode/opencode.json": '{"autoupdate": false, "share": "disabled"}'},
    ),
    Agent(
        "pi",
        ("-p",),
        ("--continue", "-p"),
        tool("write", "path", "content"),
        {"PI_SKIP_VERSION_CHECK": "1", "PI_TELEMETRY": "0"},
    ),
    Agent(
        "qwen-code",
        ("--yolo", "-p"),
        ("--yolo", "--continue", "-p"),
        tool("write_file", "file_path", "content"),
        files={".qwen/settings.json": '{"privacy": {"usageStatisticsEnabled": false}}'},
    ),
    Agent(
        "vibe",
        ("--yolo", "--trust", "-p"),
        ("--yolo", "--trust", "--continue", "-p"),
        tool("write_file", "path", "content"),
        files={".vibe/config.toml": "enable_telemetry = false\nenable_auto_update = false\n"},
    ),
]


class Desk:
    """A person's machine: a home, a folder to work in, a daemon in front of the scripted model."""

    def __init__(
        self, agents: Sequence[Agent], home: Path, path: str, *, daemon: RunningDaemon, model: AgentModel
    ) -> None:
        self.agent = agents[0]
        self.model = model
        self.folder = home / "garden"
        self.folder.mkdir()
        self._daemon = daemon
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}:{path}",
            "HOME": str(home),
            "OBLIX_HOME": str(daemon.home),
            "TERM": "dumb",
            "DO_NOT_TRACK": "1",
            # Nobody listens there: whatever an agent wants of other machines is refused at once.
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "HTTP_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        self.home = home
        for agent in agents:
            self._settle(agent)

    def _settle(self, agent: Agent) -> None:
        """Write what the agent finds in its home, and connect it."""
        self._environment |= agent.environment
        for name, text in agent.files.items():
            (self.home / name).parent.mkdir(parents=True, exist_ok=True)
            (self.home / name).write_text(text)
        written = self.run("oblix", "connect", agent.name, "--write", check=False).stdout
        if agent.name == "llm":
            token = written.partition("--value ")[2].split("`")[0]
            self.run("llm", "keys", "set", "oblix", "--value", token)
        elif agent.name == "cline":
            shown = self.run("oblix", "connect", "cline").stdout
            self.run(*shown.partition("In a shell: ")[2].split())

    def ask(self, prompt: str, *, go_on: bool = False) -> subprocess.CompletedProcess[str]:
        """Run the agent with a prompt."""
        return self._start(self.agent.goes_on if go_on else self.agent.asks, prompt)

    def ask_to_write(self, prompt: str) -> subprocess.CompletedProcess[str]:
        """Run the agent with a prompt that makes it write a file."""
        return self._start(self.agent.asks_to_write or self.agent.asks, prompt)

    def _start(self, words: Sequence[str], prompt: str) -> subprocess.CompletedProcess[str]:
        name = self.agent.name
        starter = (name,) if name in TOLD_BEFORE else ("oblix", "run", name)
        return self.run(*starter, *words, prompt, check=False)

    def conversations(self) -> list[list[str]]:
        """What people asked, as the daemon recorded it: the questions of each session."""
        stub = sessions_pb2_grpc.SessionServiceStub(self._daemon.channel)
        listed = stub.ListSessions(sessions_pb2.ListSessionsRequest(page_size=1000)).sessions
        return [self._questions(stub, session.id) for session in listed]

    def _questions(self, stub: sessions_pb2_grpc.SessionServiceStub, session_id: str) -> list[str]:
        messages = stub.ListMessages(sessions_pb2.ListMessagesRequest(session_id=session_id)).messages
        asked = (message for message in messages if message.role == messages_pb2.ROLE_USER)
        return ["".join(part.text for part in message.parts) for message in asked]

    def run(
        self, *words: str, check: bool = True, longest_s: int = LONGEST_RUN_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the person would."""
        return subprocess.run(
            words, check=check, cwd=self.folder, env=self._environment, capture_output=True, text=True,
            timeout=longest_s, stdin=subprocess.DEVNULL,
        )  # fmt: skip


@contextmanager
def desk_of(*agents: Agent, record: str = "auto") -> Iterator[Desk]:
    """Set a desk up, and clear it afterwards."""
    path = path_of(*(agent.name for agent in agents))
    home, data = (Path(tempfile.mkdtemp(prefix="oblix-", dir="/tmp")) for _ in range(2))
    try:
        with AgentModel() as model:
            (data / "config.toml").write_text(CONFIG.format(url=model.url, record=record))
            with run_daemon(data) as daemon:
                yield Desk(agents, home, path, daemon=daemon, model=model)
    finally:
        _end_leftovers(home)
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(data, ignore_errors=True)


def _end_leftovers(home: Path) -> None:
    """End what an agent left running: a process that has this home, as nobody else does."""
    mark = f"\0HOME={home}\0".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in b"\0" + (process / "environ").read_bytes():
                os.kill(int(process.name), signal.SIGTERM)


def last_output(done: subprocess.CompletedProcess[str]) -> str:
    """What a command printed last."""
    return f"status {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
