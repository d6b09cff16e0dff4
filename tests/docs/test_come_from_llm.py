"""The page for those who come from llm: its table counts keystrokes, and its commands are run here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from oblix.testing import Answer, OllamaServer
from support.drivers.daemon import run_daemon
from support.repository import files

PAGE = files.ROOT / "docs" / "how-to" / "come-from-llm.md"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
TOOLS = 'def weather(city: str) -> str:\n    """Tell the weather."""\n    return "snow"\n'
CONFIGURATION = """
[[models]]
provider = "ollama"
name = "llama2"
endpoint = "{}"

[templates.review]
prompt = "Review for $who: $input"
"""


def rows() -> list[tuple[str, str]]:
    """Return the commands of both columns, as they are typed."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "`" in line]
    cells = [line.replace(r"\|", "\0").split("|")[2:4] for line in lines]
    return [tuple(cell.strip().strip("`").replace("\0", "|") for cell in pair) for pair in cells]


def test_ten_tasks_take_no_more_keystrokes() -> None:
    assert len(rows()) == 10
    for theirs, ours in rows():
        assert len(ours) <= len(theirs), ours


def answer(asked: str) -> Answer:
    """Answer with code, with JSON, or with what was asked."""
    if "Python" in asked:
        return Answer("Here:\n\n```python\nsorted([2, 1])\n```\n")
    return Answer('{"name": "Ada", "age": 36}' if asked == "Go" else f"You said: {asked}")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with what the commands name, a daemon, and `obx` on the PATH."""
    (tmp_path / "a.txt").write_text("before")
    (tmp_path / "b.png").write_bytes(PNG)
    (tmp_path / "tools.py").write_text(TOOLS)
    for words in (["init", "-q"], ["add", "a.txt"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    (tmp_path / "a.txt").write_text("Warm heat")
    command = tmp_path / "obx"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m oblix "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("OBLIX_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with OllamaServer(["llama2"]) as ollama:
        (tmp_path / "home").mkdir(mode=0o700)
        (tmp_path / "home" / "config.toml").write_text(CONFIGURATION.format(ollama.url))
        ollama.default = answer
        with run_daemon(tmp_path / "home", OBLIX_EMBEDDED_ENABLED="false"):
            yield tmp_path


SHOWN = [
    "You said: Why?",
    "You said: And?",
    "+Warm heat",
    "You said: Why?",
    "a.txt:",
    "Review for me: Go",
    '{"name": "Ada", "age": 36}',
    "sorted([2, 1])\n",
    '{"name": "Ada", "age": 36}',
    "heat",
]
"""What each command prints, or a part of it."""


def test_each_command_of_oblix_does_what_it_says(place: Path) -> None:
    for (_, command), shown in zip(rows(), SHOWN, strict=True):
        done = subprocess.run(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, (command, done.stderr)
        assert shown in done.stdout, command
