"""`oblix acp` under a client from npm, and `oblix mcp` under an agent from npm, both headless."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from oblix import OblixClient
from oblix.testing import Answer, OllamaServer, ToolCall
from support.drivers.daemon import run_daemon
from support.servers.every_api import every_api

pytestmark = pytest.mark.agents

ACPX, OPENCODE = "acpx@0.1.15", "opencode-ai@1.18.33"
OBLIX = f"{sys.executable} -m oblix"
LONGEST_RUN_S = 240


def install(folder: Path, package: str) -> Path:
    quiet = ("--silent", "--no-audit", "--no-fund")
    command = ["npm", "install", *quiet, "--prefix", str(folder), package]
    subprocess.run(command, check=True, timeout=LONGEST_RUN_S)
    return folder / "node_modules/.bin"


def run(*words: object, cwd: Path, **environ: str) -> str:
    done = subprocess.run(
        [str(word) for word in words], check=True, cwd=cwd, env={**os.environ, **environ},
        capture_output=True, text=True, timeout=LONGEST_RUN_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.stdout


@pytest.fixture
def daemon_home(home: Path) -> Iterator[Path]:
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false"):
        yield home


@pytest.mark.timeout(600)
def test_acpx_asks_and_runs_the_editors_tool(tmp_path: Path, daemon_home: Path) -> None:
    bin_ = install(tmp_path / "tools", ACPX)
    garden = tmp_path / "garden"
    garden.mkdir()
    (garden / "plan.md").write_text("Beds north.")
    with OllamaServer(["toy"]) as server:
        server.script(Answer(tool_calls=(ToolCall("read_file", {"path": "plan.md"}),)), "It says beds.")
        agent = f"{OBLIX} acp --model ollama:toy --endpoint {server.url}"
        shown = run(
            bin_ / "acpx", "--agent", agent, "--cwd", garden, "--approve-all", "exec", "Read plan.md",
            cwd=garden, HOME=str(tmp_path),
        )  # fmt: skip
    assert "It says beds." in shown
    (session,) = OblixClient().list_sessions()
    assert (session["title"], session["metadata"]) == ("Read plan.md", {"directory": str(garden)})


@pytest.mark.timeout(600)
async def test_opencode_is_given_the_tools_of_the_mcp_server(tmp_path: Path, daemon_home: Path) -> None:
    bin_ = install(tmp_path / "tools", OPENCODE)
    home, garden = tmp_path / "home", tmp_path / "garden"
    for folder in (home / ".config/opencode", garden):
        folder.mkdir(parents=True)
    with every_api() as api:
        options = {"baseURL": f"{api.url}/v1", "apiKey": "none"}
        toy = {"npm": "@ai-sdk/openai-compatible", "name": "toy", "options": options, "models": {"toy": {}}}
        server = {
            "type": "local",
            "command": [sys.executable, "-m", "oblix", "mcp", "--all"],
            "environment": {"OBLIX_HOME": str(daemon_home)},
            "enabled": True,
        }
        settings = {
            "autoupdate": False, "share": "disabled", "model": "toy/toy",
            "provider": {"toy": toy}, "mcp": {"oblix": server},
        }  # fmt: skip
        (home / ".config/opencode/opencode.json").write_text(json.dumps(settings))
        run(bin_ / "opencode", "run", "-m", "toy/toy", "What did I plan?", cwd=garden, HOME=str(home))
        asked = json.dumps(api.asked)
    assert "oblix_search_conversations" in asked
    assert "oblix_append_note" not in asked
