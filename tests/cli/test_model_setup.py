"""`oblix models add`, `remove`, `test` and `discover`: models by name from a shell."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from oblix.cli.commands.models import discovery
from oblix.testing import OllamaServer, OpenAIServer
from support.data import gguf_files
from support.drivers.daemon import run_daemon

Run = Callable[..., subprocess.CompletedProcess[str]]
KEY = "sk-of-mine-0123456789"


@pytest.fixture
def model_server(home: Path):
    """A daemon without models, and a server that wants a key."""
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false"), OpenAIServer(["small"], api_key=KEY) as server:
        yield server


def models_in(home: Path) -> list[dict]:
    return tomllib.loads((home / "config.toml").read_text()).get("models", [])


def test_a_model_is_tried_written_and_answers_at_once(
    model_server: OpenAIServer, home: Path, oblix_alone: Run
) -> None:
    words = ["models", "add", "groq:small", "--endpoint", model_server.url, "--alias", "fast"]
    done = oblix_alone(*words, GROQ_API_KEY=KEY)
    assert "custom:small answered 'You said: Reply with the single word OK.'" in done.stdout
    assert "The daemon applied models." in done.stdout
    (table,) = models_in(home)
    assert (table["provider"], table["endpoint"], table["aliases"]) == ("custom", model_server.url, ["fast"])
    key_file = Path(table["key_file"])
    assert key_file.read_text().strip() == KEY
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert KEY not in (home / "config.toml").read_text() + done.stdout + done.stderr
    assert "You said: Hi" in oblix_alone("ask", "--new", "Hi").stdout
    for name in ("custom:small", "small"):
        assert "custom:small answered" in oblix_alone("models", "test", name).stdout
    again = oblix_alone(*words, ok=False, GROQ_API_KEY=KEY)
    assert "names custom:small already" in again.stderr
    oblix_alone("models", "remove", "groq:small")
    assert models_in(home) == []
    assert "names no model custom:small" in oblix_alone("models", "remove", "custom:small", ok=False).stderr


def test_a_model_that_does_not_answer_is_not_written(
    model_server: OpenAIServer, home: Path, oblix_alone: Run
) -> None:
    done = oblix_alone(
        "models",
        "add",
        "groq:small",
        "--endpoint",
        model_server.url,
        ok=False,
        GROQ_API_KEY="sk-another-0123456789",
    )
    assert done.returncode == 1
    assert "Give a key that is valid" in done.stderr
    assert not (home / "config.toml").exists()
    oblix_alone("models", "add", "openrouter:x/y", "--no-test", OPENROUTER_API_KEY=KEY)
    assert models_in(home)[0]["endpoint"] == "https://openrouter.ai/api/v1"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["add", "grok:x"], 2, "one of the kinds ollama, lmstudio"),
        (["add", "groq"], 2, "is not KIND:NAME"),
        (["add", "azure:x", "--no-test"], 1, "say where with --endpoint"),
        (["add", "groq:x"], 1, "set GROQ_API_KEY, or name a file with --api-key-file"),
        (["add", "embedded:x"], 1, "name it with --file"),
        (["remove", "custom:x"], 1, "names no model custom:x"),
    ],
)
def test_a_wrong_argument_says_which_would_be_right(
    home: Path, oblix_alone: Run, words: list[str], code: int, said: str
) -> None:
    done = oblix_alone("models", *words, ok=False)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_servers_of_this_machine_are_found() -> None:
    with OllamaServer(["llama3"]) as ollama, OpenAIServer(["small"]) as other:
        found = discovery.listening({ollama.port: "ollama", other.port: "vllm", 1: "custom"})
    assert [(one.kind, list(one.models)) for one in found] == [
        ("ollama", ["llama3:latest"]),
        ("vllm", ["small"]),
    ]


def test_files_of_other_programs_are_found_and_told_apart(
    tmp_path: Path, home: Path, oblix_alone: Run
) -> None:
    kinds = {
        ".lmstudio/models/p/r/good.gguf": {},
        ".lmstudio/models/p/r/mmproj-good.gguf": {"general.architecture": "clip"},
        ".cache/llama.cpp/lora.gguf": {"general.type": "adapter"},
        ".cache/llama.cpp/big-00001-of-00002.gguf": {"split.count": 2},
        ".cache/huggingface/hub/models--a--b/snapshots/1/embed.gguf": {"general.architecture": "nomic-bert"},
    }
    for name, values in kinds.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gguf_files.file_of({**gguf_files.LLAMA, **values}))
    (tmp_path / ".cache/llama.cpp/broken.gguf").write_bytes(b"nothing")
    blob = tmp_path / ".ollama/models/blobs/sha256-1"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(gguf_files.file_of(gguf_files.LLAMA))
    manifest = tmp_path / ".ollama/models/manifests/registry.ollama.ai/library/llama3/latest"
    manifest.parent.mkdir(parents=True)
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:1"}
    manifest.write_text(json.dumps({"layers": [layer, {"mediaType": "x", "digest": "sha256:2"}]}))
    environ = {
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": "",
        "HF_HOME": "",
        "LLAMA_CACHE": "",
        "OLLAMA_MODELS": "",
    }
    files = json.loads(oblix_alone("models", "discover", "--json", **environ).stdout)["files"]
    assert {(one["name"], one["kind"]) for one in files} == {
        ("good", "model"),
        ("llama3-latest", "model"),
        ("mmproj-good", "projector"),
        ("lora", "adapter"),
        ("big-00001-of-00002", "split"),
        ("embed", "embedding"),
        ("broken", "unusable"),
    }
    shown = oblix_alone("models", "discover", **environ).stdout
    assert f"oblix models add embedded:good --file {tmp_path}/.lmstudio/models/p/r/good.gguf" in shown
    file = tmp_path / ".lmstudio/models/p/r/good.gguf"
    added = oblix_alone("models", "add", "embedded:good", "--file", str(file))
    assert f"{file} has no chat template: prompts are written as ChatML" in added.stderr
    file.write_bytes(
        gguf_files.file_of(gguf_files.LLAMA | {"tokenizer.chat_template": "{{ messages }}" * 500})
    )
    assert "chat template" not in oblix_alone("models", "add", "embedded:two", "--file", str(file)).stderr
    assert models_in(home)[0]["provider"] == "embedded"
