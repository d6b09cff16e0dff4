"""pyright in its strict mode takes the examples and finds each mistake, as mypy does in the suite."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.repository import files, mistakes

pytest.importorskip("pyright")

pytestmark = pytest.mark.adapters

FOLDER = files.ROOT / "tests/typed"


def test_the_examples_are_right_and_each_mistake_is_found() -> None:
    words = ["--outputjson", "--project", str(FOLDER), "--pythonpath", sys.executable]
    done = subprocess.run(
        [sys.executable, "-m", "pyright", *words], capture_output=True, text=True, check=False
    )
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 11
    found = {
        (Path(entry["file"]).name, entry["range"]["start"]["line"] + 1)
        for entry in report["generalDiagnostics"]
        if entry["severity"] == "error"
    }
    wanted = {("mistakes.py", line) for line in mistakes.marked_lines(FOLDER / "mistakes.py")}
    assert found == wanted
