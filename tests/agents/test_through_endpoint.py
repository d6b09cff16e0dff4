"""Agents that people use, run for real through the endpoint: their own way of asking, calling and giving up.

`oblix connect` and `oblix run` tell each of them where the endpoint is. The model behind it follows a script.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from oblix.testing import Answer
from oblix.v1 import messages_pb2, sessions_pb2, sessions_pb2_grpc
from support.agent_tools import Tools
from support.drivers.daemon import RunningDaemon, running
from support.servers.agent_model import ANSWER, AgentModel, CallsOnce, dies, overflows

pytestmark = pytest.mark.agents

NOTE, TEXT = "note.txt", "Moss.\n"
LONGEST_RUN_S = 240
MOST_REQUESTS = 30
"""What an agent may ask for one prompt that fails: codex asks 6 times, and the summary as often."""
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
record = "auto"
"""


@dataclass(frozen=True)
class Agent:
    """How one agent is run without a terminal."""

    name: str
    """As `oblix run` calls it."""
    asks: tuple[str, ...]
    """Its arguments before a prompt."""
    goes_on: tuple[str, ...]
    """The same, to go on with its newest conversation."""
    tool: str = ""
    """Its tool that writes a file, and what it takes. Empty: it has none."""
    arguments: Callable[[Path], dict[str, Any]] = lambda _path: {}
    environment: dict[str, str] = field(default_factory=dict)
    node: int = 20
    """The oldest Node that it runs on; 0: it needs none."""
    files: dict[str, str] = field(default_factory=dict)
    """What stands in its home before: no first-start questions, nothing sent home."""

    def __str__(self) -> str:
        return self.name


AGENTS = [
    Agent(
        "codex",
        ("exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"),
        ("exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "resume", "--last"),
        "exec_command",
        lambda path: {"cmd": f"printf 'Moss.\\n' > {path}"},
        files={".codex/config.toml": "check_for_update_on_startup = false\n[analytics]\nenabled = false\n"},
    ),
    Agent(
        "opencode",
        ("run",),
        ("run", "--continue"),
        "write",
        lambda path: {"filePath": str(path), "content": TEXT},
        files={".config/opencode/opencode.json": '{"autoupdate": false, "share": "disabled"}'},
    ),
    Agent(
        "qwen-code",
        ("--yolo", "-p"),
        ("--yolo", "--continue", "-p"),
        "write_file",
        lambda path: {"file_path": str(path), "content": TEXT},
        files={".qwen/settings.json": '{"privacy": {"usageStatisticsEnabled": false}}'},
    ),
    Agent(
        "pi",
        ("-p",),
        ("--continue", "-p"),
        "write",
        lambda path: {"path": str(path), "content": TEXT},
        environment={"PI_SKIP_VERSION_CHECK": "1", "PI_TELEMETRY": "0"},
        node=22,
    ),
    Agent(
        "claude",
        ("--permission-mode", "acceptEdits", "-p"),
        ("--permission-mode", "acceptEdits", "--continue", "-p"),
        "Write",
        lambda path: {"file_path": str(path), "content": TEXT},
        environment={
            "DISABLE_TELEMETRY": "1",
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        },
    ),
    Agent("llm", ("-m", "oblix"), ("-m", "oblix", "--continue")),
]
EDITING = [agent for agent in AGENTS if agent.tool]


class Desk:
    """A person's machine: a home, a folder to work in, a daemon in front of the scripted model."""

    def __init__(
        self, agent: Agent, home: Path, tools: Tools, *, daemon: RunningDaemon, model: AgentModel
    ) -> None:
        self.agent = agent
        self.model = model
        self.folder = home / "garden"
        self.folder.mkdir()
        self._daemon = daemon
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}:{tools.path}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "OBLIX_HOME": str(daemon.home),
            "TERM": "dumb",
            "DO_NOT_TRACK": "1",
            **agent.environment,
        }
        for name, text in agent.files.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(text)
        written = self._run("oblix", "connect", agent.name, "--write", check=False)
        self.connected = written.stdout + written.stderr
        if agent.name == "llm":
            token = self.connected.partition("--value ")[2].split("`")[0]
            self._run("llm", "keys", "set", "oblix", "--value", token)

    def ask(self, prompt: str, *, go_on: bool = False) -> subprocess.CompletedProcess[str]:
        """Run the agent with a prompt."""
        words = self.agent.goes_on if go_on else self.agent.asks
        starter = ("llm",) if self.agent.name == "llm" else ("oblix", "run", self.agent.name)
        return self._run(*starter, *words, prompt, check=False)

    def questions(self) -> list[str]:
        """What people asked, as the daemon recorded it: every question of every session."""
        stub = sessions_pb2_grpc.SessionServiceStub(self._daemon.channel)
        listed = stub.ListSessions(sessions_pb2.ListSessionsRequest(page_size=1000)).sessions
        messages = [
            message
            for session in listed
            for message in stub.ListMessages(sessions_pb2.ListMessagesRequest(session_id=session.id)).messages
        ]
        asked = (message for message in messages if message.role == messages_pb2.ROLE_USER)
        return ["".join(part.text for part in message.parts) for message in asked]

    def _run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, check=check, cwd=self.folder, env=self._environment, capture_output=True, text=True,
            timeout=LONGEST_RUN_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip


@contextmanager
def desk_of(agent: Agent, tools: Tools) -> Iterator[Desk]:
    home, data = (Path(tempfile.mkdtemp(prefix="oblix-", dir="/tmp")) for _ in range(2))
    try:
        with AgentModel() as model:
            (data / "config.toml").write_text(CONFIG.format(url=model.url))
            with running(data) as daemon:
                yield Desk(agent, home, tools, daemon=daemon, model=model)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="session")
def tools() -> Tools:
    return Tools.installed()


@pytest.fixture
def desk(request: pytest.FixtureRequest, tools: Tools) -> Iterator[Desk]:
    agent: Agent = request.param
    if agent.node > _node():
        pytest.skip(f"{agent} needs Node {agent.node} or newer")
    with desk_of(agent, tools) as desk:
        yield desk


def _node() -> int:
    told = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout
    return int(told.removeprefix("v").partition(".")[0])


def told(done: subprocess.CompletedProcess[str]) -> str:
    return f"status {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("desk", AGENTS, indirect=True, ids=str)
def test_a_conversation_goes_on_and_is_found_again(desk: Desk) -> None:
    done = desk.ask("What grows in shade?")
    assert done.returncode == 0, told(done)
    assert ANSWER in done.stdout, told(done)
    asked = len(desk.model.requests)
    done = desk.ask("And in sun?", go_on=True)
    assert done.returncode == 0, told(done)
    later = desk.model.texts()[asked:]
    assert any("What grows in shade?" in text and ANSWER in text and "And in sun?" in text for text in later)
    questions = desk.questions()
    assert sum("What grows in shade?" in question for question in questions) >= 1
    assert sum("And in sun?" in question for question in questions) >= 1


@pytest.mark.timeout(900)
@pytest.mark.parametrize("desk", EDITING, indirect=True, ids=str)
def test_a_tool_is_called_and_a_file_is_written(desk: Desk) -> None:
    script = CallsOnce(desk.agent.tool, desk.agent.arguments(desk.folder / NOTE))
    desk.model.answer = script
    done = desk.ask(f"Write {NOTE}.")
    assert (desk.folder / NOTE).exists(), told(done) + json.dumps(script.results)
    assert (desk.folder / NOTE).read_text().strip() == TEXT.strip()
    assert script.results
    assert done.returncode == 0, told(done)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("desk", AGENTS, indirect=True, ids=str)
def test_a_full_context_ends_and_the_next_prompt_works(desk: Desk) -> None:
    desk.model.answer = overflows
    done = desk.ask("What grows in shade?")
    assert 1 <= len(desk.model.requests) <= MOST_REQUESTS, told(done)
    desk.model.answer = lambda _body: Answer(ANSWER)
    done = desk.ask("What grows in sun?")
    assert ANSWER in done.stdout, told(done)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("desk", AGENTS, indirect=True, ids=str)
def test_a_model_that_dies_is_asked_a_few_times_and_its_question_is_one_turn(desk: Desk) -> None:
    desk.model.answer = dies
    done = desk.ask("What grows in shade?")
    assert 1 <= len(desk.model.requests) <= MOST_REQUESTS, told(done)
    first_words = [question for question in desk.questions() if "What grows in shade?" in question]
    assert 1 <= len(first_words) <= 2, f"{first_words}\n{told(done)}"
    desk.model.answer = lambda _body: Answer(ANSWER)
    assert ANSWER in desk.ask("What grows in sun?").stdout
