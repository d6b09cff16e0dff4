"""`oblix models` and `oblix models pull`."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest
from oblix.cli.commands.models import listing
from oblix.testing import OllamaServer
from oblix.v1 import models_pb2, routing_pb2
from support.data.gguf_files import LLAMA, file_of
from support.drivers.terminal import terminal
from support.drivers.waiting import eventually

from oblixd.models.embedded import weights

NAMES = ["embedded:smollm2-135m-instruct", "ollama:llama3.2:1b"]


def _model(name: str, **fields: object) -> models_pb2.Model:
    return models_pb2.Model(id=name, location=routing_pb2.LOCATION_LOCAL, **fields)


def test_everything_stands_in_eighty_columns(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    many = {"context_window": 131_072, "running_count": 1, "max_running": 1, "memory_bytes": 12_345_678_901}
    listing.show(
        [
            _model(NAMES[0], state=models_pb2.MODEL_STATE_COOLING_DOWN, queued_count=12, **many),
            _model(
                NAMES[1],
                endpoint="http://localhost:11434",
                features=["tools", "images"],
                tokens_per_second=12.345,
                state_reason="It is not pulled.",
            ),
        ]
    )
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split() == [NAMES[0], "cooling", "down", "local", "131,072", "12.3", "GB", "1/1", "+12"]
    assert lines[2].split() == [NAMES[1], "untried", "local", "-", "-", "0/-"]
    said = "at http://localhost:11434; takes tools, images; wrote 12.3 tokens a second; It is not pulled."
    assert " ".join(lines[3:]) == f"{NAMES[1]}: {said}"


def test_a_list_that_is_refreshed_has_the_state_of_now(oblix_alone, home: Path) -> None:
    with OllamaServer(["small"]) as server:
        table = '[embedded]\nenabled = false\n[[models]]\nname = "small"\nprovider = "ollama"\n'
        (home / "config.toml").write_text(f'{table}endpoint = "{server.url}"\n')
        (listed,) = json.loads(oblix_alone("models", "--refresh", "--json").stdout)
        assert not listed.get("state_reason")
        server.models.clear()
        (listed,) = json.loads(oblix_alone("models", "--refresh", "--json").stdout)
        assert listed["state"] != "ready"
        assert "not found" in listed["state_reason"]


def test_a_pull_from_a_shell(oblix, ollama: OllamaServer) -> None:
    with OllamaServer([], library={"gemma": 5000}) as server:
        done = oblix("models", "pull", "ollama:gemma", "--endpoint", server.url)
        assert (done.stdout, done.stderr) == ("", "oblix: ollama:gemma is there.\n")
        assert server.models == ["gemma"]
        failed = oblix("models", "pull", "ollama:gema", "--endpoint", server.url, ok=False)
        assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
        assert "has no model gema" in failed.stderr


@pytest.mark.parametrize("model", ["openai:gpt-4o", "llama3.2", "ollama:"])
def test_a_pull_of_a_model_that_is_not_ollamas_is_wrong_usage(oblix, model: str) -> None:
    failed = oblix("models", "pull", model, ok=False)
    assert failed.returncode == 2
    assert f"name a model as ollama:NAME or hf:OWNER/REPO[:QUANT], not {model!r}" in failed.stderr


def test_a_long_pull_shows_a_bar_and_ctrl_c_stops_it(
    daemon_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBLIX_HOME", str(daemon_home))
    with OllamaServer([], library={"gemma": 5000}) as server:
        server.pull_pause_s = 0.3
        command = [sys.executable, "-m", "oblix", "models", "pull", "ollama:gemma", "--endpoint", server.url]
        with terminal(*command) as screen:
            screen.wait_for("pulling")
            screen.type("\x03")
            screen.wait_for("oblix: stopped; the next `oblix models pull ollama:gemma` goes on")
            assert screen.process.wait(60) != 0
        pull = next(call for call in server.calls if call.path == "/api/pull")
        assert pull.done.wait(60)
        assert pull.abandoned.is_set()
        assert 0 < server.library.arrived_bytes("gemma") < 5000


def test_a_broken_file_is_named_and_stops_nobody(home: Path, oblix_alone) -> None:
    whole, broken = home / "whole.gguf", home / "broken.gguf"
    whole.symlink_to(weights.find(None).path)
    broken.write_bytes(file_of(LLAMA)[:-200])
    files = f"one={whole},two={broken},smollm2-135m-instruct"

    def list_models() -> dict[str, list[str]]:
        lines = oblix_alone("models", OBLIX_EMBEDDED_MODELS=files).stdout.splitlines()
        return {line.split("\t")[0]: line.split("\t") for line in lines}

    asyncio.run(eventually(lambda: list_models()["embedded:two"][1] == "unavailable"))
    models = list_models()
    assert list(models) == ["embedded:one", "embedded:two", "embedded:smollm2-135m-instruct"]
    assert f"{broken} is cut short" in models["embedded:two"][-1]
    assert models["embedded:one"][1] == "idle"
    short = ("--max-tokens", "4", "Hi")
    assert oblix_alone("ask", "--no-metrics", "--model", "embedded:one", *short).stdout.strip()


def test_json_tells_all(oblix_alone) -> None:
    listed = json.loads(oblix_alone("models", "--json", OBLIX_OLLAMA_MODELS="llama2").stdout)
    (model,) = [model for model in listed if model["id"] == "ollama:llama2"]
    assert (model["context_window"], model["max_running"], model["features"]) == (8192, 1, [])
