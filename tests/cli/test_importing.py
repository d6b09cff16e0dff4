"""`oblix import`: what other tools keep on this machine, taken in once and kept up to date."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
from support.drivers.terminal import terminal
from support.tools import FILES, home_of_tools


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CODEX_HOME", "XDG_DATA_HOME", "LLM_USER_PATH", "VIBE_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return home_of_tools(tmp_path)


def more(home: Path, question: str) -> None:
    """Somebody asks one thing more in qwen-code."""
    path = home / FILES["qwen-continued.jsonl"]
    lines = path.read_text().splitlines()
    last = json.loads(lines[0]) | {"uuid": question, "parentUuid": json.loads(lines[-1])["uuid"]}
    last["message"] = {"role": "user", "parts": [{"text": question}]}
    path.write_text("\n".join([*lines, json.dumps(last)]) + "\n")


def test_everything_is_found_taken_once_and_grows(oblix, home: Path) -> None:
    listed = oblix("import", "--list").stdout.splitlines()
    assert ["codex", "3", "3"] in [line.split("\t")[:3] for line in listed]
    refused = oblix("import", ok=False)
    assert refused.returncode == 1
    assert "say --yes" in refused.stderr
    first = oblix("import", "--yes").stderr
    # pi's file has two branches.
    assert "17 imported, 0 grown" in first
    assert "0 refused" in first
    assert "summaries of compactions left out" in first
    again = oblix("import", "--yes").stderr
    assert "0 imported, 0 grown (0 messages), 17 unchanged, 0 refused" in again
    more(home, "And which is oldest?")
    assert "0 imported, 1 grown (1 messages), 16 unchanged" in oblix("import", "--yes").stderr
    found = json.loads(oblix("sessions", "list", "--json", "--filter", "tool=qwen-code").stdout)
    assert [session["message_count"] for session in found] == [7]
    assert found[0]["metadata"]["directory"] == "/garden"
    forks = json.loads(oblix("sessions", "list", "--json", "--filter", "tool=codex").stdout)
    (fork,) = [session for session in forks if "parent_id" in session]
    assert fork["parent_id"] in {session["id"] for session in forks}


def test_a_file_that_is_refused_is_named_and_counted_once(oblix, home: Path) -> None:
    file = home / "rubbish"
    file.write_bytes(b"\xff\x00\xfe")
    done = oblix("import", str(file), ok=False)
    assert done.returncode == 1
    refusal, totals = done.stderr.splitlines()
    assert refusal.startswith(f"oblix: {file}: ")
    assert totals == "oblix: 0 imported, 0 grown (0 messages), 0 unchanged, 1 refused."


def test_a_person_is_asked(oblix, home: Path) -> None:
    with terminal(sys.executable, "-m", "oblix", "import", "--tool", "llm") as shown:
        shown.wait_for("Take in 4 conversations? [Y/n]")
        shown.type("n\r")
        assert "imported" not in shown.rest()


def test_messages_written_during_an_import_are_imported(oblix, start, home: Path) -> None:
    process = start("import", "--yes", "--tool", "qwen-code", "--watch", "--interval", "0.1")
    assert process.stderr is not None
    while "watching" not in process.stderr.readline():
        pass
    more(home, "What is watched?")
    assert "1 grown (1 messages)" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130


def test_a_directory_of_a_tool_can_be_named(oblix, home: Path) -> None:
    told = oblix("import", str(home / ".pi")).stderr
    assert "0 refused" in told
