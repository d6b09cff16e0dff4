"""`oblix config` and `oblix reload`: settings to see and to change, while the daemon runs or not."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from oblix import OblixClient, OblixError
from oblix.testing import OpenAIServer
from support.drivers.daemon import run_daemon
from support.drivers.waiting import eventually

COMMENTED = """# what I know
[daemon] # the process
grace_s = 3 # seconds

[store]
map_size_gib = 8
"""


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(oblix_alone: Run) -> Run:
    """Runs the command in the test's own home."""
    return oblix_alone


@pytest.fixture
def config(home: Path) -> Path:
    """A configuration file with comments."""
    path = home / "config.toml"
    path.write_text(COMMENTED)
    return path


def test_set_and_unset_keep_every_comment(run: Run, config: Path) -> None:
    run("config", "set", "daemon.grace_s", "5")
    run("config", "set", "ollama.models", "llama3.2, qwen3:8b")
    run("config", "set", "routing.rules", '[{key = "a", value = "b", policy = "private"}]')
    text = config.read_text()
    assert "# what I know" in text
    assert "grace_s = 5 # seconds" in text
    assert run("config", "get", "daemon.grace_s").stdout == "5.0\n"
    assert json.loads(run("config", "get", "ollama.models").stdout) == ["llama3.2", "qwen3:8b"]
    run("config", "unset", "daemon.grace_s")
    assert run("config", "get", "daemon.grace_s").stdout == "10.0\n"
    assert "[store]" in config.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["set", "daemon.grace_s", "soon"],
            "a number from 0 to 3,600; 'soon' was given",
        ),
        (["set", "daemon.grace", "5"], "Did you mean grace_s?"),
        (["get", "demon.grace_s"], "not a setting"),
        (["set", "routing.policy", "nope"], "no routing policy 'nope'"),
        (["set", "network.ca_file", "/nowhere.pem"], "no certificates can be read from /nowhere.pem"),
        (["set", "routing.rules", '[{key = "a"}]'], "routing.rules"),
    ],
)
def test_a_wrong_value_changes_nothing_and_says_which_would_be_right(
    run: Run, config: Path, words: list[str], said: str
) -> None:
    done = run("config", *words, ok=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert config.read_text() == COMMENTED


def test_a_symbolic_link_stays_one(run: Run, home: Path, config: Path) -> None:
    real = home / "dotfiles.toml"
    config.rename(real)
    config.symlink_to(real)
    run("config", "set", "daemon.grace_s", "5")
    assert config.is_symlink()
    assert "grace_s = 5" in real.read_text()


def test_validate_names_the_line_and_what_is_old(run: Run, config: Path, tmp_path: Path) -> None:
    assert "all of them sound" in run("config", "validate").stdout
    other = tmp_path / "other.toml"
    other.write_text('[usage]\nprices = ["openai:x=1/2"]\n')
    assert '[[usage.prices]], model = "openai:x"' in run("config", "validate", str(other)).stdout
    other.write_text("[daemon]\n\ngrace_s = true\n")
    done = run("config", "validate", str(other), ok=False)
    assert "other.toml, line 3: daemon.grace_s must be a number" in done.stderr
    other.write_text('[routing]\npolicy = "nope"\n')
    assert "no routing policy 'nope'" in run("config", "validate", str(other), ok=False).stderr


def test_init_writes_a_template_that_is_sound_and_changes_nothing(run: Run, home: Path) -> None:
    path = run("config", "path").stdout.strip()
    run("config", "init")
    assert "all of them sound" in run("config", "validate").stdout
    text = Path(path).read_text()
    assert "# grace_s = 10.0" in text
    assert "is there already" in run("config", "init", ok=False).stderr
    # Each default may be uncommented as it stands.
    settings = text[text.index("[daemon]") :]
    Path(path).write_text(re.sub(r"(?m)^# (\w+ = )", r"\1", settings))
    assert "all of them sound" in run("config", "validate").stdout


def test_edit_checks_what_the_editor_left(run: Run, config: Path, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/grace_s = 3/grace_s = wrong/" "$1"\n')
    editor.chmod(0o755)
    done = run("config", "edit", ok=False, VISUAL=str(editor))
    assert "line 3" in done.stderr


def test_proxies_of_the_environment_are_taken_over_without_showing_a_password(run: Run, config: Path) -> None:
    environ = {
        "HTTPS_PROXY": "http://me:canary@proxy.company.test:3128",
        "NO_PROXY": "localhost, .company.test,10.0.0.0/8",
        "SSL_CERT_FILE": "/etc/company.pem",
        "SSL_CERT_DIR": "",
    }
    done = run("config", "import-environment", **environ)
    assert "canary" not in done.stdout + done.stderr
    assert json.loads(run("config", "get", "network.no_proxy").stdout) == [
        "localhost",
        ".company.test",
        "10.0.0.0/8",
    ]
    assert "canary" in config.read_text()
    assert config.stat().st_mode & 0o077 == 0
    assert "canary" not in run("config").stdout
    nothing = dict.fromkeys([*environ, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"], "")
    assert "no proxy" in run("config", "import-environment", ok=False, **nothing).stderr


@pytest.fixture
def model_server(home: Path):
    with OpenAIServer(["one", "two"]) as server:
        yield server


def models_of(server: OpenAIServer, *names: str) -> str:
    return "".join(
        f'[[models]]\nname = "{name}"\nprovider = "custom"\nlocation = "cloud"\nendpoint = "{server.url}"\n'
        for name in names
    )


async def test_a_reload_takes_over_what_can_change_and_names_the_rest(
    run: Run, home: Path, model_server: OpenAIServer
) -> None:
    path = home / "config.toml"
    path.write_text(models_of(model_server, "one"))
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false"):
        async with OblixClient() as hooked, OblixClient() as plain:
            await hooked.hook_model("custom", "one", endpoint=model_server.url, location="cloud")
            assert plain.list_models() == {"custom": ["one"]}
            path.write_text(
                models_of(model_server, "two")
                + '[store]\nmap_size_gib = 9\n[routing]\npolicy = "prefer-local"\n'
            )
            said = run("reload").stdout
            assert "applied routing.policy, models" in said
            assert "Run `oblix restart` to apply store.map_size_gib" in said
            assert plain.list_models() == {"custom": ["two"]}
            assert (await plain.execute("Hi", stream=False))["model_id"] == "custom:two"
            assert (await hooked.execute("Hi", stream=False))["model_id"] == "custom:one"
            shown = json.loads(run("config", "--json").stdout)
            assert shown["routing.policy"] == {"value": "prefer-local", "source": "file"}
            assert shown["store.map_size_gib"]["value"] == 64
            assert shown["models"]["value"][0]["name"] == "two"
            assert "embedded.enabled" in run("config", "--changed").stdout
            assert run("reload").stdout == "Run `oblix restart` to apply store.map_size_gib.\n"


async def test_a_broken_file_changes_nothing_and_is_told(
    run: Run, home: Path, model_server: OpenAIServer
) -> None:
    path = home / "config.toml"
    path.write_text(models_of(model_server, "one"))
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false") as daemon:
        async with OblixClient() as client:
            path.write_text(models_of(model_server, "two") + "[daemon]\ngrace_s = -1\n")
            done = run("reload", ok=False)
            assert done.returncode == 1
            assert "line 7: daemon.grace_s must be a number" in done.stderr
            os.kill(daemon.process.pid, signal.SIGHUP)
            await eventually(lambda: "was not read again" in daemon.errors.read_text())
            assert client.list_models() == {"custom": ["one"]}
            path.write_text(models_of(model_server, "two"))
            os.kill(daemon.process.pid, signal.SIGHUP)
            await eventually(lambda: client.list_models() == {"custom": ["two"]})
            said = run("config", "set", "execution.queue_length", "7").stdout
            assert "applied execution.queue_length" in said


def test_without_a_daemon_the_file_is_shown(run: Run, config: Path) -> None:
    done = run("config", "--changed")
    assert "no daemon runs" in done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert ["daemon.grace_s", "3.0", "file", "at once"] in rows
    assert not any(row[0] == "daemon.log_level" for row in rows)


async def test_a_reload_leads_through_another_proxy(run: Run, home: Path, model_server: OpenAIServer) -> None:
    path = home / "config.toml"
    far = models_of(model_server, "one").replace("127.0.0.1", "models.company.test")
    path.write_text(far)
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false"):
        async with OblixClient() as client:
            with pytest.raises(OblixError, match="can't be reached"):
                await client.execute("Hi", stream=False)
            run("config", "set", "network.proxy", "http://127.0.0.1:9")
            with pytest.raises(OblixError, match=r"the proxy http://127\.0\.0\.1:9 can't be reached"):
                await client.execute("Hi", stream=False)
            run("config", "set", "network.proxy", "http://proxy.company.test:3128")
            with pytest.raises(OblixError, match=r"the proxy http://proxy\S+ can't be reached \(there is no"):
                await client.execute("Hi", stream=False)
