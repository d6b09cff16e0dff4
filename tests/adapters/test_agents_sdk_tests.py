"""The OpenAI Agents SDK's own tests of sessions, as its source archive has them, with `OblixSession`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest
from oblix.testing.pytest_plugin import PrivateDaemon
from support.repository import files

pytest.importorskip("agents")

pytestmark = pytest.mark.adapters

LOCK = files.ROOT / "requirements/adapters.lock"
FILES = ("tests/memory/test_session.py", "tests/memory/test_session_limit.py")
OF_SQLITE = (
    "worker_thread",
    "retired_connections",
    "closed_rejects",
    "corrupt",
    "file_lock",
    "write_lock",
    "rolls_back",
    "evicts_connection",
    "quarantined",
    "post_commit",
)
"""Words in the names of the tests that open the file with `sqlite3`, or look at its connections."""
PASSED = 53


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SDK's source archive, of the version that is installed, checked by the lock's hashes."""
    folder = tmp_path_factory.mktemp("sdk")
    name = f"openai-agents=={version('openai-agents')}"
    entry = re.search(
        rf"^{re.escape(name)} \\\n(?:    --hash=\S+(?: \\)?\n)+", LOCK.read_text(), re.MULTILINE
    )
    assert entry is not None
    (folder / "requirements.txt").write_text(entry[0])
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
    only = ["--no-binary", ":all:", "--require-hashes", "-r", "requirements.txt"]
    subprocess.run([*command, *only], cwd=folder, check=True, capture_output=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def test_their_own_tests_pass(oblix_daemon: PrivateDaemon, source: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(files.ROOT / "tests")}
    chosen = ["-k", " and ".join(f"not {word}" for word in OF_SQLITE)]
    plugins = ["-p", "support.drivers.sdk_sessions", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, *chosen, *FILES],
        cwd=source,
        env=environ,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert f"{PASSED} passed" in done.stdout
