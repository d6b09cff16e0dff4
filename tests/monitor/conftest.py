"""A process that keeps one core busy."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.fixture
def busy():
    """Started within the test, so that a sampler meets it as a new process."""
    with subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) as process:
        yield process
        process.kill()
