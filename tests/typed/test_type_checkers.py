"""mypy in its strict mode takes the examples and finds each mistake; `make adapters` has pyright do so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from support.repository import files, mistakes

HERE = Path(__file__).parent
COMMAND = [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", "--no-pretty"]
"""With the settings of the checkout, which are strict."""
ELSEWHERE = {"django_view.py", "fastapi_app.py"}
"""Programs with libraries that are not here."""


def _errors(*paths: Path) -> list[tuple[str, int]]:
    """The file and line of each error."""
    done = subprocess.run(
        [*COMMAND, *map(str, paths)], cwd=files.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found = re.findall(r"^(\S+?):(\d+): error", done.stdout, re.MULTILINE)
    assert found or not done.returncode, done.stdout
    return [(Path(path).name, int(line)) for path, line in found]


def test_the_examples_are_right() -> None:
    programs = [path for path in (files.ROOT / "examples").glob("*.py") if path.name not in ELSEWHERE]
    assert _errors(HERE / "examples.py", *programs) == []


def test_each_mistake_is_found() -> None:
    path = HERE / "mistakes.py"
    assert {line for _, line in _errors(path)} == mistakes.marked_lines(path)
