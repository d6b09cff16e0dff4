"""Every Python block of every guide runs, in order, against a real daemon."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.faults import netns
from support.repository import files, guides

GUIDES = [path for path in files.tracked_files("README.md", "docs/*.md") if list(guides.blocks(path))]
PUBLISHED = files.ROOT.parent / "shared" / "seed" / "session-management.md"
PRELUDE = Path(__file__).with_name("session-management.prelude.md")
WAIT_S = 240.0


def _run(words: list[str], tmp_path: Path) -> str:
    environ = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(files.ROOT / "tests")}
    done = subprocess.run(
        words, check=False, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=WAIT_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _runner(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "support.repository.guides", *map(str, arguments)]


def test_there_are_guides() -> None:
    assert files.ROOT / "README.md" in GUIDES


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_our_guides_run(path: Path, tmp_path: Path) -> None:
    assert "blocks ran" in _run(_runner(path), tmp_path)


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_our_guides_are_programs(path: Path) -> None:
    """A reader puts the blocks into a file: no `await` stands outside of a function."""
    for block in guides.blocks(path):
        compile("\n" * (block.line - 1) + block.source, str(path), "exec", dont_inherit=True)


@pytest.mark.skipif(
    not PUBLISHED.exists(), reason="the published guide lies beside the checkout, and is not there"
)
def test_the_published_guide_runs_word_for_word(tmp_path: Path) -> None:
    runner = _runner("--prelude", PRELUDE, PUBLISHED)
    output = _run(netns.command(*runner) or _on_this_network(runner), tmp_path)
    assert "Merged session contains 6 messages" in output
    assert "11 blocks ran" in output


def _on_this_network(runner: list[str]) -> list[str]:
    """Without a network of its own, the guide's port has to be free here."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 11434)) == 0:
            pytest.skip("no right to make a network namespace, and port 11434 is taken by somebody else")
    return runner
