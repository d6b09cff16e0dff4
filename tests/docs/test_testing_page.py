"""The page about testing: complete, and its tests run as a reader would run them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from oblix import testing
from support.repository import files, guides

PAGE = files.ROOT / "docs" / "how-to" / "test-a-program.md"


def test_every_name_is_on_the_page() -> None:
    named = set(re.findall(r"\w+", PAGE.read_text()))
    assert set(testing.__all__) - named <= {"ModelServer", "Fault", "Received"}


def test_its_tests_run_with_pytest(tmp_path: Path) -> None:
    (example,) = [block for block in guides.blocks(PAGE) if "import pytest" in block.source]
    (tmp_path / "test_example.py").write_text(example.source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
