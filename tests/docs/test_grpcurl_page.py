"""The commands of docs/how-to/grpcurl.md, run as they stand there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from oblix.testing import OpenAIServer
from support.drivers.daemon import run_daemon
from support.repository.pages import console_scripts

CONFIG = """
[[models]]
name = "small"
provider = "custom"
endpoint = "{url}"
location = "local"
[embedded]
enabled = false
"""


@pytest.fixture
def server(home: Path) -> Iterator[OpenAIServer]:
    with OpenAIServer(["small"]) as server:
        (home / "config.toml").write_text(CONFIG.format(url=server.url))
        with run_daemon(home):
            yield server


def test_every_command_works(server: OpenAIServer, home: Path, tmp_path: Path) -> None:
    server.script("An apple falls.")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", "".join(console_scripts("grpcurl.md"))],
        check=False, cwd=tmp_path, env={**os.environ, "PATH": path, "OBLIX_HOME": str(home)},
        capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for shown in (
        "oblix.v1.ExecutionService\n",
        "message ExecuteRequest",
        "An apple",
        '"request_id": "shell-1"',
    ):
        assert shown in done.stdout
