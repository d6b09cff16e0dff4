"""`oblix server`, `oblix connect` and `oblix run`: from nothing to a tool that talks to the daemon."""

from __future__ import annotations

import json
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import httpx
import pytest
from oblix.cli.commands.tools.connect import fill
from oblix.cli.commands.tools.settings import TOOLS

Run = Callable[..., CompletedProcess[str]]
VALUES = {"url": "http://127.0.0.1:62549", "token": "oblix-x", "model": "auto"}


@pytest.mark.parametrize("name", TOOLS)
def test_each_tool_s_settings_are_what_its_file_holds(name: str) -> None:
    settings = TOOLS[name]
    text = fill(settings.text, VALUES)
    if settings.file.endswith(".json"):
        assert "127.0.0.1:62549" in json.dumps(json.loads(text))
    elif settings.file.endswith(".toml"):
        assert "127.0.0.1:62549" in json.dumps(tomllib.loads(text))
    shown = [text, settings.note, *settings.environment.values(), *settings.command]
    assert any("{url}" in one or VALUES["url"] in one for one in shown)


@pytest.fixture
def oblix(oblix_alone: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command beside a daemon of its own, whose endpoint takes any port."""
    (home / "config.toml").write_text("[http]\nport = 0\n[embedded]\nenabled = false\n")
    monkeypatch.setenv("HOME", str(home))
    return oblix_alone


def test_the_endpoint_is_opened_connected_and_closed(oblix: Run) -> None:
    url = oblix("server").stdout.split()[2].removesuffix("/v1")
    assert oblix("server", "--status").stdout == f"open at {url}\n"
    printed = oblix("connect", "aider").stdout
    token = printed.split("OPENAI_API_KEY=")[1].split()[0]
    assert f"OPENAI_API_BASE={url}/v1" in printed
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 200
    assert oblix("connect", "--list").stdout.startswith("aider\tall models\t")
    oblix("connect", "--revoke", "aider")
    assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 401
    oblix("server", "--close")
    assert oblix("server", "--status", ok=False).returncode == 1


def test_settings_are_written_beside_what_a_person_has(oblix: Run, home: Path) -> None:
    mine = home / ".config/opencode/opencode.json"
    mine.parent.mkdir(parents=True)
    mine.write_text('{"theme": "dark", "provider": {"own": {"name": "Own"}}}')
    oblix("connect", "opencode", "--write")
    merged = json.loads(mine.read_text())
    assert merged["theme"] == "dark"
    assert set(merged["provider"]) == {"own", "oblix"}
    oblix("connect", "codex", "--write")
    codex = home / ".codex/oblix.config.toml"
    assert tomllib.loads(codex.read_text())["model"] == "auto"
    assert stat.S_IMODE(codex.stat().st_mode) == 0o600


def test_toml_keeps_its_comments_and_is_written_again(oblix: Run, home: Path) -> None:
    vibe = home / ".vibe/config.toml"
    vibe.parent.mkdir(parents=True)
    vibe.write_text(
        '# mine\nenable_telemetry = false\n\n[[providers]]\nname = "own"\napi_base = "http://own"\n'
    )
    for _ in range(2):
        oblix("connect", "vibe", "--write", "--model", "cheapest")
    written = vibe.read_text()
    assert written.startswith("# mine\nenable_telemetry = false\n")
    merged = tomllib.loads(written)
    assert merged["active_model"] == "oblix"
    assert [one["name"] for one in merged["providers"]] == ["own", "oblix"]
    assert merged["models"]["oblix"]["name"] == "cheapest"


def test_a_tool_is_started_with_its_settings_and_its_token_ends_with_it(
    oblix: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = home / "bin" / "aider"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "$OPENAI_API_BASE $OPENAI_API_KEY $@"\nexit 7\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    done = oblix("run", "aider", "--yes", ok=False)
    url, token, *words = done.stdout.split()
    assert (done.returncode, words) == (7, ["--model", "openai/auto", "--yes"])
    assert httpx.get(f"{url}/models", headers={"x-api-key": token}).status_code == 401
    assert oblix("connect", "--list").stdout == ""
    missing = oblix("run", "codex", ok=False)
    assert "not installed" in missing.stderr
