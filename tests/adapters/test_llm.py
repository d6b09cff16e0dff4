"""The plugin for llm, in llm's own command and as a library."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from oblix.testing import Answer, Refuse, ToolCall
from oblix.testing.pytest_plugin import PrivateDaemon

llm = pytest.importorskip("llm")

pytestmark = pytest.mark.adapters

Run = Callable[..., subprocess.CompletedProcess[str]]
COMMAND = Path(sys.executable).with_name("llm")
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture
def run(oblix_daemon: PrivateDaemon, tmp_path: Path) -> Run:
    """Run `llm` with a directory of its own, as a person does."""
    (tmp_path / "llm").mkdir()
    environ = {**os.environ, "LLM_USER_PATH": str(tmp_path / "llm")}

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *words],
            env=environ | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def session_texts(daemon: PrivateDaemon) -> dict[str, list[tuple[str, str]]]:
    """What each session holds."""
    with daemon.client() as client:
        return {
            session.id: [(one.role, one.content) for one in client.sessions.messages(session)]
            for session in client.sessions.list()
        }


def test_a_conversation_that_goes_on_is_one_session(run: Run, oblix_daemon: PrivateDaemon) -> None:
    oblix_daemon.script("Rayleigh.", "Dark.")
    assert run("-m", "oblix:auto", "-s", "Be brief.", "Why blue?").stdout == "Rayleigh.\n"
    assert run("-c", "And at night?").stdout == "Dark.\n"
    (messages,) = session_texts(oblix_daemon).values()
    assert messages == [
        ("system", "Be brief."),
        ("user", "Why blue?"),
        ("assistant", "Rayleigh."),
        ("user", "And at night?"),
        ("assistant", "Dark."),
    ]
    sent = oblix_daemon.prompts[-1].body["messages"]
    assert [message["content"] for message in sent] == [content for _, content in messages[:-1]]
    logged = json.loads(run("logs", "--json").stdout)
    assert {entry["conversation_id"] for entry in logged} == set(session_texts(oblix_daemon))
    with oblix_daemon.client() as client:
        session = client.sessions.list().first()
        assert session is not None
        assert (session.title, session.metadata["program"]) == ("Why blue?", "llm")


def test_answers_of_other_models_are_in_the_conversation(run: Run, oblix_daemon: PrivateDaemon) -> None:
    oblix_daemon.script("One.", "Two.", "Three.")
    run("-m", "oblix:auto", "-o", "record", "0", "First?")
    assert session_texts(oblix_daemon) == {}
    run("-c", "Second?")
    run("-c", "Third?")
    (messages,) = session_texts(oblix_daemon).values()
    assert [content for _, content in messages] == ["First?", "One.", "Second?", "Two.", "Third?", "Three."]


def test_a_failed_turn_is_no_other_conversation(run: Run, oblix_daemon: PrivateDaemon) -> None:
    oblix_daemon.script("One.")
    run("-m", "oblix:auto", "First?")
    oblix_daemon.script(Answer("", fault=Refuse(400, "No such thing.")))
    failed = run("-c", "Second?")
    assert failed.returncode == 1
    assert "No such thing." in failed.stderr
    oblix_daemon.script("Two.", "Three.")
    assert run("-c", "Second again?").stdout == "Two.\n"
    assert run("-c", "Third?").stdout == "Three.\n"
    assert len(session_texts(oblix_daemon)) == 1


def test_a_prompt_that_llm_does_not_log_is_not_recorded(run: Run, oblix_daemon: PrivateDaemon) -> None:
    assert run("-m", "oblix:auto", "--no-log", "A secret").returncode == 0
    run("logs", "off")
    assert run("-m", "oblix:cheapest", "A secret").returncode == 0
    assert session_texts(oblix_daemon) == {}
    assert run("-m", "oblix:auto", "--log", "No secret").returncode == 0
    assert len(session_texts(oblix_daemon)) == 1


def test_options_schemas_and_images_arrive(run: Run, oblix_daemon: PrivateDaemon, tmp_path: Path) -> None:
    image = tmp_path / "one.png"
    image.write_bytes(PIXEL)
    oblix_daemon.script('{"name": "Chur", "age": 5000}')
    options = ["-o", "temperature", "0.25", "-o", "max_tokens", "40", "-o", "seed", "7", "-o", "stop", "X"]
    done = run(
        "-m",
        "oblix:private",
        *options,
        "--schema",
        "name, age int",
        "-a",
        str(image),
        "Which city?",
        "--no-stream",
    )
    assert json.loads(done.stdout)["name"] == "Chur"
    body = oblix_daemon.prompts[-1].body
    wanted = {"temperature": 0.25, "num_predict": 40, "seed": 7, "stop": ["X"]}
    assert {name: body["options"][name] for name in wanted} == wanted
    assert body["format"]["properties"]["name"]["type"] == "string"
    assert body["messages"][-1]["images"] == [base64.b64encode(PIXEL).decode()]
    entry = json.loads(run("logs", "--json").stdout)[0]
    assert entry["resolved_model"] == "ollama:scripted"
    assert entry["input_tokens"] > 0


def test_text_streams_and_functions_are_called(run: Run, oblix_daemon: PrivateDaemon, tmp_path: Path) -> None:
    oblix_daemon.script(Answer("", tool_calls=[ToolCall("weather", {"city": "Chur"})]), "It snows.", "Sun.")
    functions = "def weather(city: str) -> str:\n    'Tell the weather.'\n    return f'Snow in {city}.'\n"
    done = run("-m", "oblix:auto", "--functions", functions, "Weather?")
    assert done.stdout.endswith("It snows.\n"), done.stderr
    assert oblix_daemon.prompts[-1].body["messages"][-1]["content"] == "Snow in Chur."
    assert run("-c", "Tomorrow?").stdout == "Sun.\n"
    (messages,) = session_texts(oblix_daemon).values()
    assert [role for role, _ in messages] == ["user", "assistant", "tool", "assistant", "user", "assistant"]


def test_errors_are_said_in_a_line(run: Run, oblix_daemon: PrivateDaemon) -> None:
    for words, wanted in (
        (["-o", "temperature", "3"], "less than or equal to 2"),
        (["-o", "temprature", "1"], "temprature"),
        (["-o", "pin", "ollama:gone"], "ollama:gone"),
        (["-o", "policy", "nearest"], "nearest"),
    ):
        done = run("-m", "oblix:auto", *words, "Hello")
        assert done.returncode == 1
        assert wanted in done.stderr
        assert "Traceback" not in done.stderr
    unreachable = run("-m", "oblix:auto", "Hello", OBLIX_ADDRESS="tcp://127.0.0.1:1", OBLIX_TOKEN="x" * 40)
    assert unreachable.returncode == 1
    assert unreachable.stderr.startswith("Error: ")


def test_models_are_listed_without_a_daemon(run: Run, oblix_daemon: PrivateDaemon) -> None:
    listed = run("models").stdout
    assert "Oblix: oblix:auto" in listed
    assert "oblix:prefer-local" in listed
    assert "pin: str" in run("models", "--options", "-m", "oblix:auto").stdout
    assert not list(oblix_daemon.home.glob("*.sock"))


def test_texts_are_embedded(run: Run, oblix_daemon: PrivateDaemon) -> None:
    configuration = oblix_daemon.home / "config.toml"
    table = f'\n[[models]]\nname = "nomic"\nprovider = "ollama"\nendpoint = "{oblix_daemon.model.url}"\n'
    configuration.write_text(configuration.read_text() + table + 'task = "embedding"\n')
    oblix_daemon.model.models.append("nomic")
    vector = json.loads(run("embed", "-m", "oblix:embed", "-c", "A cat").stdout)
    assert len(vector) > 8


async def test_programs_use_both_models(oblix_daemon: PrivateDaemon) -> None:
    oblix_daemon.script("One two", "Three", "Four five")
    model, later = llm.get_model("oblix:auto"), llm.get_async_model("oblix:auto")
    conversation = model.conversation()
    response = conversation.prompt("Count", temperature=0.5)
    assert list(response)
    assert (response.text(), response.resolved_model) == ("One two", "ollama:scripted")
    assert conversation.prompt("On").text() == "Three"
    chunks = [chunk async for chunk in later.prompt("Count")]
    assert "".join(chunks) == "Four five"
    assert list(session_texts(oblix_daemon)) == [conversation.id]
    oblix_daemon.script(Answer("", fault=Refuse(400, "No such thing.")))
    with pytest.raises(llm.ModelError, match="No such thing"):
        await later.prompt("Hello").text()
