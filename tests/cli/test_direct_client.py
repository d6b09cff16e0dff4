"""The client of `oblix ask`, while daemons come and go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from oblix import ModelType
from oblix.cli.output import answers
from oblix.cli.prompting.asking import Asking
from oblix.cli.prompting.direct_client import DirectClient
from oblix.testing import OllamaServer
from support.drivers import processes

MODEL = "ollama:llama2"


@pytest.fixture
def client(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DirectClient]:
    """A client of no daemon yet: it starts one in the test's own home."""
    monkeypatch.setenv("OBLIX_EMBEDDED_ENABLED", "false")
    with closing(DirectClient()) as client:
        yield client


def test_a_hooked_model_outlives_the_daemon(client: DirectClient, home: Path, ollama: OllamaServer) -> None:
    answers.complete(client.hook_model(ModelType.OLLAMA, "llama2", ollama.url))
    asked = Asking(prompt="Hello")
    request = asked.request()
    request.input.append(asked.message())
    processes.end_daemon_of(home)
    assert client.explain(request).model == MODEL
    processes.end_daemon_of(home)
    completion = answers.complete(answers.show(client.stream(request), summary=None))
    assert (completion.model, completion.text) == (MODEL, "You said: Hello")
