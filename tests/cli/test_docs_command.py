"""`oblix docs`: documents that are taken in, found by their words and their meaning, and asked about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from oblix.testing import OllamaServer

from .conftest import Run

CONFIG = """
[embedded]
enabled = false
[[models]]
name = "vectors"
provider = "ollama"
endpoint = "{url}"
task = "embedding"
location = "{location}"
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "heat.md").write_text("The heat pump runs at 35 degrees.\n")
    (folder / "roof.md").write_text("The cells on the roof give five kilowatts.\n")
    return folder


def inputs(server: OllamaServer) -> list[list[str]]:
    """Return what it was to read, oldest first."""
    return [call.body["input"] for call in server.calls if call.path == "/api/embed"]


@pytest.fixture
def vectors(home: Path) -> OllamaServer:
    """A server with a model that makes vectors. The test ends it."""
    server = OllamaServer(["vectors"]).start()
    (home / "config.toml").write_text(CONFIG.format(url=server.url, location="local"))
    return server


def test_a_missing_directory_leaves_no_library(oblix_alone: Run, tmp_path: Path) -> None:
    refused = oblix_alone("docs", "add", str(tmp_path / "missing"), ok=False)
    assert "No such file" in refused.stderr
    assert json.loads(oblix_alone("docs", "--json").stdout) == []


def test_passages_are_found_by_meaning_once_a_model_has_read_them(
    oblix_alone: Run, vectors: OllamaServer, notes: Path
) -> None:
    oblix_alone("docs", "add", str(notes))
    assert oblix_alone("docs", "embed", "notes").stdout == "notes: ollama:vectors read 2 passages.\n"
    (library,) = json.loads(oblix_alone("docs", "--json").stdout)
    assert library["embedder"] == "ollama:vectors"
    (notes / "garden.md").write_text("Ten roses.\n")
    oblix_alone("docs", "update", "notes")
    assert "Ten roses." in inputs(vectors)[-1]
    found = oblix_alone("docs", "search", "notes", "roof").stdout.splitlines()
    assert "roof.md:1-1" in found[0]
    assert inputs(vectors)[-1] == ["roof"]
    vectors.close()
    alone = oblix_alone("docs", "search", "notes", "roof")
    assert "roof.md:1-1" in alone.stdout
    assert "searched by words alone" in alone.stderr


def test_local_only_documents_go_to_no_cloud_model_for_their_vectors(
    oblix_alone: Run, home: Path, notes: Path
) -> None:
    with OllamaServer(["vectors"]) as server:
        (home / "config.toml").write_text(CONFIG.format(url=server.url, location="cloud"))
        oblix_alone("docs", "add", "--local-only", str(notes))
        refused = oblix_alone("docs", "embed", "notes", ok=False)
        assert refused.returncode == 1
        assert not inputs(server)
