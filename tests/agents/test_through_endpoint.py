"""Agents that people use, run for real through the endpoint: their own way of asking, calling and giving up.

`oblix connect` and `oblix run` tell each of them where the endpoint is. The model behind it follows a script.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from oblix.testing import Answer, ToolCall
from oblix.v1 import messages_pb2, sessions_pb2, sessions_pb2_grpc
from support.agent_tools import path_of
from support.drivers.daemon import RunningDaemon, running
from support.servers.agent_model import ANSWER, AgentModel, WritesOnce, dies, overflows

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
        self, agent: Agent, home: Path, path: str, *, daemon: RunningDaemon, model: AgentModel
    ) -> None:
        self.agent = agent
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
        return self._start(self.agent.goes_on if go_on else self.agent.asks, prompt)

    def ask_to_write(self, prompt: str) -> subprocess.CompletedProcess[str]:
        """Run the agent with a prompt that makes it write a file."""
        return self._start(self.agent.asks_to_write or self.agent.asks, prompt)

    def _start(self, words: Sequence[str], prompt: str) -> subprocess.CompletedProcess[str]:
        starter = ("llm",) if self.agent.name == "llm" else ("oblix", "run", self.agent.name)
        return self._run(*starter, *words, prompt, check=False)

    def conversations(self) -> list[list[str]]:
        """What people asked, as the daemon recorded it: the questions of each session."""
        stub = sessions_pb2_grpc.SessionServiceStub(self._daemon.channel)
        listed = stub.ListSessions(sessions_pb2.ListSessionsRequest(page_size=1000)).sessions
        return [self._questions(stub, session.id) for session in listed]

    def _questions(self, stub: sessions_pb2_grpc.SessionServiceStub, session_id: str) -> list[str]:
        messages = stub.ListMessages(sessions_pb2.ListMessagesRequest(session_id=session_id)).messages
        asked = (message for message in messages if message.role == messages_pb2.ROLE_USER)
        return ["".join(part.text for part in message.parts) for message in asked]

    def _run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, check=check, cwd=self.folder, env=self._environment, capture_output=True, text=True,
            timeout=LONGEST_RUN_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip


@contextmanager
def desk_of(agent: Agent) -> Iterator[Desk]:
    path = path_of(agent.name)
    home, data = (Path(tempfile.mkdtemp(prefix="oblix-", dir="/tmp")) for _ in range(2))
    try:
        with AgentModel() as model:
            (data / "config.toml").write_text(CONFIG.format(url=model.url))
            with running(data) as daemon:
                yield Desk(agent, home, path, daemon=daemon, model=model)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    with desk_of(request.param) as desk:
        yield desk


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
    (conversation,) = desk.conversations()
    questions = [
        question for question in conversation if "grows in shade" in question or "in sun" in question
    ]
    assert len(questions) == 2, conversation


@pytest.mark.timeout(900)
@pytest.mark.parametrize("desk", AGENTS, indirect=True, ids=str)
def test_a_tool_is_called_and_a_file_is_written(desk: Desk) -> None:
    script = WritesOnce(desk.agent.writes(desk.folder / NOTE))
    desk.model.answer = script
    done = desk.ask_to_write(f"Write {NOTE}.")
    assert (desk.folder / NOTE).exists(), told(done) + json.dumps(script.results)
    assert (desk.folder / NOTE).read_text().strip() == TEXT.strip()
    assert script.is_done, told(done)
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
    (questions,) = desk.conversations()
    assert sum("What grows in shade?" in question for question in questions) == 1, questions
    desk.model.answer = lambda _body: Answer(ANSWER)
    assert ANSWER in desk.ask("What grows in sun?").stdout
