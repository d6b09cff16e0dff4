"""The official JavaScript clients, unmodified (openai, @anthropic-ai/sdk, ollama), run by Node's test runner.

`make test` installs them where npm is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from oblix.testing import Answer, Cut, Refuse, Stall, ToolCall
from support.endpoint import Served

HERE = Path(__file__).with_name("javascript")
MODELS = """
[[models]]
name = "vectors"
provider = "openai"
task = "embedding"
"""
LONGEST_RUN_S = 240
TOO_LONG = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
)


def answer_to(question: str) -> Answer:
    """The answer to a prompt, by its first word."""
    calls = (ToolCall("weather", {"city": "Oslo"}, "call_1"), ToolCall("weather", {"city": "Rome"}, "call_2"))
    known = {
        "think": Answer("Four.", reasoning="Two and two."),
        "tools": Answer(tool_calls=calls),
        "limit": Answer(fault=Refuse(429, "Slow down.", {"Retry-After": "45"})),
        "overflow": Answer(fault=Refuse(400, TOO_LONG)),
        "break": Answer("One two three four.", fault=Cut(2)),
        "hang": Answer("One two three four.", fault=Stall(2)),
    }
    return known.get(question.partition(" ")[0], Answer(question))


@pytest.fixture
def scripted_endpoint(serving_with: Callable[[str], AbstractContextManager[Served]]) -> Iterator[Served]:
    with serving_with(MODELS) as served:
        served.server.models.append("vectors")
        server = served.server
        server.default = lambda question: _after_results(server.requests[-1].body) or answer_to(question)
        yield served


def _after_results(body: dict[str, Any]) -> Answer | None:
    return Answer("It snows.") if body["messages"][-1]["role"] == "tool" else None


@pytest.mark.skipif(
    shutil.which("node") is None or not (HERE / "node_modules").is_dir(),
    reason="node or its packages are missing: install Node 20 or newer with npm, then run `make test`",
)
@pytest.mark.timeout(LONGEST_RUN_S)
def test_they_work_as_against_their_own_servers(scripted_endpoint: Served) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "ENDPOINT_URL": scripted_endpoint.url,
        "ENDPOINT_TOKEN": scripted_endpoint.token,
    }
    done = subprocess.run(
        ["node", "--test", "--test-reporter=spec", "clients.test.js"],
        cwd=HERE, env=environment, capture_output=True, text=True, timeout=LONGEST_RUN_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
