"""`oblix.Client`: the names of `AsyncClient`, without async, from any thread and inside a running loop."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from oblix import AsyncClient, Client, Delta, ModelType, ResourceMonitor
from oblix.testing import Answer, OllamaServer, ToolCall
from support.repository import files

NAMESPACES = ("sessions", "models", "executions", "usage", "machine")


@pytest.fixture
def client_with_model(
    shared_home: Path, ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Client]:
    """A client of the shared daemon with one model."""
    monkeypatch.setenv("OBLIX_HOME", str(shared_home))
    with Client(agents=[ResourceMonitor()]) as client:
        client.models.hook(ModelType.OLLAMA, "llama2", endpoint=ollama.url)
        yield client


def _public(value: object) -> dict[str, list[str]]:
    methods = inspect.getmembers(type(value), inspect.isfunction)
    shown = [(name, method) for name, method in methods if not name.startswith("_")]
    return {
        name.replace("aclose", "close"): list(inspect.signature(method).parameters) for name, method in shown
    }


def test_both_clients_have_the_same_names() -> None:
    sync, other = Client(), AsyncClient()
    assert _public(sync) == _public(other)
    for name in NAMESPACES:
        assert _public(getattr(sync, name)) == _public(getattr(other, name))


def test_the_written_source_is_fresh() -> None:
    command = [sys.executable, files.ROOT / "tools/sync_client.py", "check"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_conversation_goes_on_in_its_session(client_with_model: Client, ollama: OllamaServer) -> None:
    ollama.script(Answer("One two"), Answer("Three"), Answer("Four"))
    session = client_with_model.sessions.create(title="Counting")
    assert client_with_model.execute("Count", session=session).text == "One two"
    assert list(client_with_model.stream_text("On", session=session)) == ["Three"]
    texts = [
        event.text for event in client_with_model.stream("On", session=session) if isinstance(event, Delta)
    ]
    assert "".join(texts) == "Four"
    said = [message.content for message in client_with_model.sessions.messages(session)]
    assert said == ["Count", "One two", "On", "Three", "On", "Four"]
    assert client_with_model.sessions.messages(session).all()[0].role == "user"


async def test_it_works_inside_a_running_loop(client_with_model: Client) -> None:
    assert client_with_model.execute("Hello").text


def test_functions_run_also_async_ones(client_with_model: Client, ollama: OllamaServer) -> None:
    async def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    ollama.script(Answer("", tool_calls=[ToolCall("add", {"a": 2, "b": 3})]), Answer("Five"))
    session = client_with_model.sessions.create()
    answer = client_with_model.execute("2 + 3?", session=session, tools=[add], run_tools=True)
    assert answer.text == "Five"
    assert [m.role for m in client_with_model.sessions.messages(session)] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]


def test_32_threads_share_a_client_and_lose_nothing(client_with_model: Client) -> None:
    session = client_with_model.sessions.create()

    def work(number: int) -> str:
        client_with_model.sessions.append(session, str(number))
        return client_with_model.execute(f"Echo {number}").text

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(work, range(96)))
    assert all(str(number) in answer for number, answer in enumerate(answers))
    contents = [int(message.content) for message in client_with_model.sessions.messages(session)]
    assert sorted(contents) == list(range(96))
