"""A bounded run of each fuzzer: no input may do anything but be read, or be refused by name."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from support import scale
from support.figures import NoteFigure
from support.fuzz_targets import TARGETS

RUNS = scale.count("FUZZ_RUNS", full=100_000, quick=1_000)
RUN = Path(__file__).parents[1] / "fuzz" / "run.py"


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this Python"
)
@pytest.mark.parametrize("target", TARGETS)
def test_no_input_is_a_surprise(target: str, note_figure: NoteFigure) -> None:
    command = [sys.executable, str(RUN), target, "--runs", str(RUNS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    note_figure("inputs of each parser", RUNS)
