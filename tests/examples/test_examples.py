"""The programs in examples/: each is short, and runs against a private daemon with a scripted model."""

from __future__ import annotations

import asyncio
import importlib.util
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import oblix
import pytest
from oblix.testing import Answer, ToolCall
from oblix.testing.pytest_plugin import PrivateDaemon
from support.repository import files

EXAMPLES = files.ROOT / "examples"
MOST_LINES = 30


def load(name: str) -> ModuleType:
    """Return an example as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_ten_and_each_is_short() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert len(lengths) == 10
    assert {name for name, lines in lengths.items() if lines > MOST_LINES} == set()


def test_the_script_prints_the_answer(
    oblix_daemon: PrivateDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    oblix_daemon.script("It scatters.")
    assert load("script").main("Why is the sky blue?") == 0
    assert capsys.readouterr().out == "It scatters.\n"


def test_async_app(oblix_daemon: PrivateDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(load("async_app").main())
    assert {"glaciers 2", "marmots 2", "avalanches 2"} <= set(capsys.readouterr().out.splitlines())


def test_the_notebook_prints_the_answer(
    oblix_daemon: PrivateDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    oblix_daemon.script("Zürich, Geneva, Lucerne")
    runpy.run_path(str(EXAMPLES / "notebook.py"))["client"].close()
    assert capsys.readouterr().out.startswith("Zürich, Geneva, Lucerne\n")


def test_command_line(oblix_daemon: PrivateDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    oblix_daemon.script("A fine day.")
    program = load("command_line")
    program.main(["ask", "How was the marmot?"])
    program.main(["find", "marmot"])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "A fine day."
    assert "marmot" in said[1]


def test_background_worker(oblix_daemon: PrivateDaemon) -> None:
    oblix_daemon.script("Marmots in spring")
    with oblix_daemon.client() as client:
        session = client.sessions.create(metadata={"wants_title": True})
        client.sessions.append(session, "When do marmots wake?")
        load("background_worker").work(client, most=1)
        found = client.sessions.get(session)
    assert (found.title, found.metadata) == ("Marmots in spring", {"wants_title": False})


def test_agent_with_tools(oblix_daemon: PrivateDaemon, tmp_path: Path) -> None:
    (tmp_path / "one.py").touch()
    call = ToolCall("list_files", {"folder": str(tmp_path), "suffix": ".py"})
    oblix_daemon.script(Answer("", tool_calls=[call]), "Only one.py.")
    assert load("agent_with_tools").main("Which files?").text == "Only one.py."
    assert "one.py" in oblix_daemon.prompts[-1].body["messages"][-1]["content"]


def test_import_job(oblix_daemon: PrivateDaemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "chat.jsonl"
    file.write_text(
        '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}\n'
    )
    assert load("import_job").main([file], tmp_path / "backup.lmdb") == 0
    assert capsys.readouterr().out.startswith("1 new, 0 longer, 0 known already\n")
    assert (tmp_path / "backup.lmdb").stat().st_size > 0


def test_test_program() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null"]
    done = subprocess.run(
        [*command, "--rootdir", str(EXAMPLES), str(EXAMPLES / "test_program.py")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_each_test_has_a_daemon_of_its_own(oblix_daemon: PrivateDaemon) -> None:
    with oblix_daemon.client() as client:
        assert client.sessions.list().first() is None
        assert isinstance(client.machine.info(), oblix.DaemonInfo)
        assert client.machine.info().socket.startswith(str(oblix_daemon.home))
