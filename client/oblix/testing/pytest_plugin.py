"""A pytest plugin: a private daemon and a scripted model for each test that asks for `oblix_daemon`.

    def test_my_program(oblix_daemon):
        oblix_daemon.script("Forty-two.")
        assert my_program.answer("What is the answer?") == "Forty-two."

pytest finds it by itself where Oblix is installed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oblix.testing.answers import Answer
from oblix.testing.exchange import Received
from oblix.testing.ollama import OllamaServer

if TYPE_CHECKING:
    from oblix import AsyncClient, Client

MODEL = "scripted"
CONFIGURATION = """[embedded]
enabled = false

[[models]]
name = "{name}"
provider = "ollama"
endpoint = "{url}"
"""


class PrivateDaemon:
    """A daemon of one test, in a home of its own, and the only model that it knows."""

    def __init__(self, home: Path, model: OllamaServer) -> None:
        self.home = home
        """Its OBLIX_HOME, which the environment names, too: the program under test finds the daemon there."""
        self.model = model
        """The model's server: it can also fail in every way that real ones do (`oblix.testing`)."""

    def script(self, *answers: str | Answer) -> None:
        """Say what the model answers, one prompt after the other. Afterwards it repeats the question."""
        self.model.script(*answers)

    @property
    def prompts(self) -> list[Received]:
        """What the model was asked, in order."""
        return list(self.model.requests)

    def client(self) -> Client:
        """Return a client of this daemon. `oblix.Client()` is the same while the test runs."""
        from oblix import Client  # noqa: PLC0415 - a test without a daemon loads no gRPC

        return Client()

    def async_client(self) -> AsyncClient:
        """Return a client of this daemon for asyncio."""
        from oblix import AsyncClient  # noqa: PLC0415 - as above

        return AsyncClient()


@pytest.fixture
def oblix_daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateDaemon]:
    """Give a daemon that belongs to this test alone, with a model that says what the test scripts.

    It starts with the first call, and is stopped after the test; nothing of it stays.
    """
    # The path is short: a socket's may have about a hundred bytes.
    with tempfile.TemporaryDirectory(prefix="oblix-", dir="/tmp") as folder, OllamaServer([MODEL]) as model:
        home = Path(folder)
        (home / "config.toml").write_text(CONFIGURATION.format(name=MODEL, url=model.url))
        for name in ("OBLIX_ADDRESS", "OBLIX_TOKEN", "OBLIX_EMBEDDED_ENABLED"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("OBLIX_HOME", folder)
        try:
            yield PrivateDaemon(home, model)
        finally:
            if (home / "oblixd.lock").exists() or any(home.glob("*.sock")):
                subprocess.run([sys.executable, "-m", "oblix", "stop"], check=False, capture_output=True)
