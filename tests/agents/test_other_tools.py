"""An evening's work in three agents, run for real against a scripted model: found, searched, continued.

The agents come from npm, in the versions whose files were looked at.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from oblix import OblixClient
from support.drivers.daemon import run_daemon
from support.servers.every_api import ANSWER, EveryApi, every_api

pytestmark = pytest.mark.agents

TOOLS = ["@openai/codex@0.171.0", "opencode-ai@1.18.33", "@anthropic-ai/claude-code@2.1.332"]
LONGEST_RUN_S = 240

Run = Callable[..., str]


@pytest.fixture
def api() -> Iterator[EveryApi]:
    with every_api() as api:
        yield api


@pytest.fixture
def run(tmp_path: Path, api: EveryApi) -> Run:
    """Runs one of the agents in a folder, with a home of its own and nothing of this environment."""
    bin_ = tmp_path / "tools/node_modules/.bin"
    home, garden = tmp_path / "home", tmp_path / "garden"
    command = [
        "npm",
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--prefix",
        str(tmp_path / "tools"),
        *TOOLS,
    ]
    subprocess.run(command, check=True, timeout=LONGEST_RUN_S)
    for folder in (home / ".codex", home / ".config/opencode", garden):
        folder.mkdir(parents=True)
    (home / ".codex/config.toml").write_text(
        'model = "toy"\nmodel_provider = "toy"\ncheck_for_update_on_startup = false\n'
        "[analytics]\nenabled = false\n"
        f'[model_providers.toy]\nname = "toy"\nbase_url = "{api.url}/v1"\nwire_api = "responses"\n'
    )
    options = {"baseURL": f"{api.url}/v1", "apiKey": "none"}
    provider = {"npm": "@ai-sdk/openai-compatible", "name": "toy", "options": options, "models": {"toy": {}}}
    settings = {"autoupdate": False, "share": "disabled", "model": "toy/toy", "provider": {"toy": provider}}
    (home / ".config/opencode/opencode.json").write_text(json.dumps(settings))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "ANTHROPIC_BASE_URL": api.url,
        "ANTHROPIC_API_KEY": "none",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_AUTOUPDATER": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }

    def run(*words: str) -> str:
        done = subprocess.run(
            [bin_ / words[0], *words[1:]],
            check=True, cwd=garden, env=environment, capture_output=True, text=True, timeout=LONGEST_RUN_S,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done.stdout

    return run


@pytest.mark.timeout(900)
async def test_an_evening_in_three_agents_is_continued_in_another(
    tmp_path: Path, run: Run, api: EveryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("codex", "exec", "--skip-git-repo-check", "What grows in shade?")
    run("opencode", "run", "-m", "toy/toy", "Which plants climb?")
    run("claude", "-p", "What lives on rocks?")
    home = tmp_path / "home"
    daemon_home = tmp_path / "own"
    daemon_home.mkdir(0o700)
    monkeypatch.setenv("OBLIX_HOME", str(daemon_home))
    with run_daemon(daemon_home, OBLIX_EMBEDDED_ENABLED="false"):
        client = OblixClient()
        found = client.find_conversations(home)
        report = await client.import_sessions([path for each in found for path in each.files])
        assert (report.imported, report.refused) == (3, 0)
        assert {session.title for session in report.sessions} >= {
            "What grows in shade?",
            "What lives on rocks?",
        }
        (hit,) = client.search_messages("climb", filter_metadata={"tool": "opencode"})[:1]
        titles = {session["title"]: session["id"] for session in client.list_sessions()}
        opencode_s = hit["session_id"]
        for tool, words in (
            ("codex", ["codex", "exec", "--skip-git-repo-check", "resume"]),
            ("claude-code", ["claude", "-p", "--resume"]),
        ):
            await _hand_over(client, tool, opencode_s, home)
            api.asked.clear()
            assert ANSWER in run(*words, opencode_s, "And which is tallest?")
            assert "Which plants climb?" in api.words()
        written = tmp_path / "for-opencode.json"
        await client.export_sessions(titles["What grows in shade?"], written, "opencode")
        run("opencode", "import", str(written))
        api.asked.clear()
        run(
            "opencode",
            "run",
            "-m",
            "toy/toy",
            "-s",
            json.loads(written.read_text())["info"]["id"],
            "And in sun?",
        )
        assert "What grows in shade?" in api.words()
        again = await client.import_sessions(
            [path for each in client.find_conversations(home) for path in each.files]
        )
        assert again.refused == 0
        assert again.imported == 3
        await client.shutdown()


async def _hand_over(client: OblixClient, tool: str, session_id: str, home: Path) -> None:
    from oblix.formats import oblix_json  # noqa: PLC0415 - only here
    from oblix.formats.exports.tools import TARGETS  # noqa: PLC0415

    loaded = client.load_session(session_id)
    assert loaded is not None
    path = TARGETS[tool].path(oblix_json.read(loaded).session, home, {})
    await client.export_sessions(session_id, path, tool)
