"""`oblix templates`, `oblix models default` and `alias`, `oblix completion`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from oblix.cli.commands.sessions.pick import matches
from oblix.cli.manual import manual_page
from oblix.cli.table import COMMANDS
from oblix.testing import OllamaServer


def test_templates_are_listed_shown_and_written(oblix, daemon_home: Path) -> None:
    assert "there is no template yet" in oblix("templates").stderr
    assert oblix("templates", "path").stdout.strip() == str(daemon_home / "templates")
    oblix("templates", "edit", "greet", EDITOR="true")
    (daemon_home / "templates" / "greet.toml").write_text(
        'prompt = "Greet $who."\ndescription = "A greeting"\ndefaults = { who = "me" }\n'
    )
    assert oblix("templates", "list").stdout == "greet\twho\tA greeting\n"
    assert oblix("templates", "show", "greet").stdout == (
        "description: A greeting\ndefault: who=me\nGreet $who.\n"
    )
    assert json.loads(oblix("templates", "--json").stdout)["greet"]["prompt"] == "Greet $who."
    (daemon_home / "templates" / "bad.toml").write_text("promt = 'x'\n")
    assert "has no promt. Did you mean prompt?" in oblix("templates", ok=False).stderr
    (daemon_home / "templates" / "bad.toml").unlink()


def test_a_default_and_an_alias_are_written_and_used(oblix, daemon_home: Path, ollama: OllamaServer) -> None:
    config = daemon_home / "config.toml"
    config.write_text("# mine\n[routing]\npolicy = 'balanced'\n")
    oblix("models", "alias", "fast", "ollama:llama2")
    oblix("models", "default", "fast")
    assert config.read_text().startswith("# mine\n")
    assert oblix("models", "default").stdout == "ollama:llama2\n"
    assert json.loads(oblix("models", "alias", "--json").stdout) == {"fast": "ollama:llama2"}
    assert oblix("ask", "--endpoint", ollama.url, "Hi").stdout == "You said: Hi\n"
    oblix("config", "validate")
    oblix("models", "alias", "fast")
    oblix("models", "default", "auto")
    assert oblix("models", "default").stdout == "auto\n"
    config.unlink()


def test_every_command_is_in_the_manual_page() -> None:
    page = manual_page()
    assert all(f"\n.SS oblix {name}\n" in page for name in COMMANDS)
    assert "\n.SS oblix sessions pick\n" in page
    if shutil.which("man"):
        shown = subprocess.run(["man", "-l", "-"], input=page, capture_output=True, text=True, check=False)
        assert shown.returncode == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_code(oblix_alone, shell: str) -> None:
    assert "oblix" in oblix_alone("completion", shell).stdout


def _completions(line: str, home: Path) -> list[str]:
    """What Tab gives at the end of a line, asked as the shell's code asks."""
    reading, writing = os.pipe()
    script = f"exec {sys.executable} -m oblix 8>&{writing} 9>/dev/null"
    environ = {
        **os.environ,
        "OBLIX_HOME": str(home),
        "_ARGCOMPLETE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",  # as the shells do, which add one themselves
    }
    subprocess.run(["bash", "-c", script], env=environ, pass_fds=[writing], check=True, timeout=60)
    os.close(writing)
    with os.fdopen(reading) as given:
        return given.read().split("\n")


def test_tab_completes_commands_options_and_names(oblix, daemon_home: Path) -> None:
    session_id = oblix("sessions", "create", "About trains").stdout.strip()
    assert "sessions" in _completions("oblix se", daemon_home)
    assert "--max-tokens" in _completions("oblix ask --max", daemon_home)
    assert "rename" in _completions("oblix sessions ren", daemon_home)
    assert session_id in _completions(f"oblix sessions view {session_id[:10]}", daemon_home)


def test_letters_find_sessions_the_closest_together_first() -> None:
    titles = ["Heating the house", "Heat pump", "High energy attic party", "Other"]
    sessions = [{"title": title, "id": "0"} for title in titles]
    assert [one["title"] for one in matches(sessions, "hea p")] == ["Heat pump", "High energy attic party"]
    assert len(matches(sessions, "")) == 4
