"""A key is never written down: not where it worked, and not where it failed."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from oblix import OblixClient, OblixError
from oblix.testing import Answer, ClaudeServer, Cut, ModelServer, OpenAIServer, Report
from oblix.v1 import models_pb2
from support.drivers import processes
from support.drivers.daemon import RunningDaemon, run_daemon

LEAK_MARK = "sk-canary-"
"""What every key of these tests begins with."""
OF_THE_DAEMON = f"{LEAK_MARK}in-the-daemons-own-environment"


class Houses:
    """A server that takes every key, and one that takes none and repeats the one that it got."""

    def __init__(self, kind: type[OpenAIServer] | type[ClaudeServer], model: str) -> None:
        self.takes = kind([model])
        self.refuses = kind([model], api_key="another")
        self.model = model


@pytest.fixture
def openai() -> Iterator[Houses]:
    houses = Houses(OpenAIServer, "gpt-4o-mini")
    with houses.takes, houses.refuses:
        yield houses


@pytest.fixture
def claude() -> Iterator[Houses]:
    houses = Houses(ClaudeServer, "claude-3-haiku-20240307")
    with houses.takes, houses.refuses:
        yield houses


def write(path: Path, text: str) -> Path:
    path.touch(0o600)
    path.write_text(text)
    return path


@pytest.fixture
def daemon(home: Path, tmp_path: Path, openai: Houses, claude: Houses) -> Iterator[RunningDaemon]:
    """Configured with a credential's key that works, a key file's that does not, and an embedded model."""
    write(tmp_path / "openai-api-key", f"{LEAK_MARK}of-a-credential")
    key_file = write(tmp_path / "claude.key", f"{LEAK_MARK}of-a-configured-file")
    (home / "config.toml").write_text(f"""
        [daemon]
        log_level = "debug"
        [openai]
        endpoint = "{openai.takes.url}"
        models = ["{openai.model}"]
        [claude]
        endpoint = "{claude.refuses.url}"
        models = ["{claude.model}"]
        key_file = "{key_file}"
        """)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "OPENAI_API_KEY": OF_THE_DAEMON}
    with run_daemon(home, **environ) as daemon:
        yield daemon


async def visible_text(client: OblixClient, prompt: str, **options: object) -> str:
    """Everything that a program is told of an answer, or of its failure."""
    try:
        return repr(await client.execute(prompt, stream=False, **options))
    except OblixError as error:
        cause = error.__cause__
        trailers = cause.trailing_metadata() if isinstance(cause, grpc.Call) else ""
        return f"{error!r} {error.metadata} {trailers} {''.join(traceback.format_exception(error))}"


async def use(client: OblixClient, houses: Houses, provider: str, session_id: str, **key: object) -> str:
    """Work with one key: an answer, one that breaks off, one that repeats the key, and a refusal."""
    model = f"{provider}:{houses.model}"
    await client.hook_model(provider, houses.model, endpoint=houses.takes.url, **key)
    heard = repr(client.get_model(provider, houses.model))
    for prompt in ("Answer", "Break off", "Tell on me"):
        if prompt != "Answer":
            told_on = Report(after=1, message=f"no {_key_at(houses.takes)} here")
            houses.takes.script(Answer("one two", fault=Cut(after=1) if prompt == "Break off" else told_on))
        heard += await visible_text(client, prompt, model=model, session_id=session_id)
    await client.hook_model(provider, houses.model, endpoint=houses.refuses.url, **key)
    heard += await visible_text(client, "Refuse", model=model, session_id=session_id)
    for server in (houses.takes, houses.refuses):
        assert LEAK_MARK in _key_at(server), "the key did not arrive: nothing is proved"
    return heard


def _key_at(server: ModelServer) -> str:
    """The key of the last prompt that a server got, as it repeats it in its errors."""
    asked = [one.headers for one in server.requests if one.method == "POST"]
    return f"{asked[-1].get('authorization')} {asked[-1].get('x-api-key')}" if asked else ""


def list_everything(client: OblixClient) -> str:
    models = client._transport.call(lambda link: link.models.ListModels, models_pb2.ListModelsRequest())
    return f"{models} {client!r} {vars(client)!r} {vars(client._core.hooked)!r}"


def of_processes(daemon: RunningDaemon) -> str:
    """Command lines and environments of the daemon and its children, but for what the test gave it."""
    process = psutil.Process(daemon.process.pid)
    children = process.children(recursive=True)
    assert children, "the embedded model's process is missing"
    own = {name: value for name, value in process.environ().items() if name != "OPENAI_API_KEY"}
    return f"{process.cmdline()} {own} {[(child.cmdline(), child.environ()) for child in children]}"


def files_with(directory: Path) -> list[Path]:
    found = [path for path in directory.rglob("*") if path.is_file()]
    assert any(path.name == "data.mdb" for path in found)
    return [path for path in found if LEAK_MARK.encode() in path.read_bytes()]


async def test_a_key_is_found_nowhere(
    daemon: RunningDaemon,
    tmp_path: Path,
    openai: Houses,
    claude: Houses,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = OblixClient()
    session_id = await client.create_session("Canary")
    heard = await visible_text(client, "Hello", model="embedded:smollm2-135m-instruct", max_tokens=1)
    for model in (f"openai:{openai.model}", f"claude:{claude.model}"):
        heard += await visible_text(client, "Hello", model=model, session_id=session_id)
    assert LEAK_MARK in _key_at(openai.takes)
    assert LEAK_MARK in _key_at(claude.refuses)

    heard += await use(client, openai, "openai", session_id, api_key=f"{LEAK_MARK}of-the-call")
    file = write(tmp_path / "file.key", f"{LEAK_MARK}of-a-file")
    heard += await use(client, claude, "claude", session_id, api_key_file=file)
    monkeypatch.setenv("OPENAI_API_KEY", f"{LEAK_MARK}of-the-environment")
    heard += await use(client, openai, "openai", session_id)
    heard += list_everything(client)

    await client.export_session(session_id, tmp_path / "out" / "session.json")
    await client.backup(tmp_path / "out" / "backup")
    heard += of_processes(daemon)
    heard += repr(client.load_session(session_id)) + repr(client.list_executions())
    assert LEAK_MARK not in heard
    assert files_with(daemon.home) == []
    await client.shutdown()
    assert daemon.end() == 0
    assert files_with(daemon.home) == []
    assert not [path for path in (tmp_path / "out").iterdir() if LEAK_MARK.encode() in path.read_bytes()]


def test_a_key_on_the_command_line_works_warns_and_is_not_repeated(openai: Houses, home: Path) -> None:
    words = ["chat", "--cloud-model", f"openai:{openai.model}", "--cloud-endpoint"]
    words += [openai.takes.url, "--cloud-api-key", f"{LEAK_MARK}of-the-command-line"]
    done = subprocess.run(
        [sys.executable, "-m", "oblix", *words],
        check=False,
        input="Hello\n",
        env={**os.environ, "OBLIX_EMBEDDED_ENABLED": "false"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "You said: Hello\n")
    assert "process list" in done.stderr
    assert "--cloud-api-key-file" in done.stderr
    assert LEAK_MARK not in done.stdout + done.stderr
    assert files_with(home) == []
    assert not [one for one in processes.of(home) if LEAK_MARK in str(one.cmdline()) + str(one.environ())]
