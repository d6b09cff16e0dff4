"""Lists on terminals of 40 to 80 columns: no line is longer, no id and no number is broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from oblix.testing import OllamaServer
from support.drivers.terminal import terminal

from .conftest import COMMAND

LISTS = {
    "sessions": "01",
    "search heat": "01",
    "ps": "llama2",
    "models": "ollama:llama2",
    "models alias": "fast",
    "usage": "ollama:llama2",
    "usage --by day": "20",
    "agents": "cpu_threshold",
    "templates": "review",
    "tokens list": "laptop",
    "sessions versions @1 1": "heat pump",
}
"""Each list, and what it shows."""
CONFIGURATION = """
[[models]]
name = "llama2"
provider = "ollama"
endpoint = "{}"

[aliases]
fast = "ollama:llama2-of-a-name-that-is-rather-long"

[templates.review]
prompt = "Review this change for $audience, with all that it does and all that it leaves undone"
"""


@pytest.mark.parametrize("width", [40, 58, 76, 80])
def test_every_list_fits(oblix, daemon_home: Path, ollama: OllamaServer, width: int) -> None:
    (daemon_home / "config.toml").write_text(CONFIGURATION.format(ollama.url))
    oblix("reload")
    title = "How much heat does a heat pump make of one kilowatt-hour, and what does 暖房 mean?"
    oblix("ask", title)
    oblix("sessions", "edit", "@1", "1", "Another heat pump")
    oblix("tokens", "create", f"laptop-{width}")
    ids = [one["id"] for one in json.loads(oblix("sessions", "--json").stdout)]
    for words, shown in LISTS.items():
        with terminal("env", f"COLUMNS={width}", *COMMAND, *words.split()) as screen:
            lines = screen.rest().replace("\r", "").splitlines()
        assert any(shown in line for line in lines), (words, lines)
        assert not [line for line in lines if len(line) > width], words
        if words == "sessions":
            assert all(any(one[:13] in line for line in lines) for one in ids)
