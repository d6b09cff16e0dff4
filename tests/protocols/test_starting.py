"""Starting `oblix acp` and `oblix mcp` by hand, or without what they need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "oblix", *words], check=False, input="", capture_output=True, text=True,
        timeout=60, env={**os.environ, **environ},
    )  # fmt: skip


def test_mcp_wants_to_be_told_what_it_may_show() -> None:
    done = run("mcp")
    assert (done.returncode, done.stdout) == (1, "")
    assert "--filter KEY=VALUE, --session ID, or --all" in done.stderr


@pytest.mark.parametrize(("words", "module"), [(("acp",), "acp"), (("mcp", "--all"), "mcp")])
def test_a_missing_sdk_is_named_with_the_way_to_install_it(
    tmp_path: Path, words: tuple[str, ...], module: str
) -> None:
    # A module of that name that can't be imported stands in for a package that is not there.
    (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError(name={module!r})\n")
    done = run(*words, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert f'pip install "oblix[{module}]"' in done.stderr
