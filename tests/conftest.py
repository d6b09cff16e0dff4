"""What every test gets: a home of its own, and a look at what it leaves behind."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support.drivers import processes

# A busy machine makes examples slowly: that is no failure.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

KEYS = (
    *("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OLLAMA_API_KEY", "OBLIX_API_KEY"),
    *("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "OLLAMA_HOST"),
)


def pytest_configure() -> None:
    """Hear Ctrl-C in the background, too, where a shell has it ignored, and what the tests start with it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()


def pytest_collection_finish() -> None:
    """Leave what was collected out of every garbage collection: thousands of tests and their modules stay."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A private `OBLIX_HOME`, in the environment too, and no keyring. Its path is short: a socket's may have
    107 bytes.

    Whatever daemon a test started there is stopped afterwards.
    """
    path = Path(tempfile.mkdtemp(prefix="oblix-", dir="/tmp"))
    for name in [name for name in os.environ if name.startswith("OBLIX_")] + list(KEYS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OBLIX_HOME", str(path))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    yield path
    if any(path.iterdir()):
        processes.stop_all_of(path)
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def no_process_left(home: Path) -> Iterator[None]:
    """Fails a test after which a child process lives on that was not there before."""
    before = processes.children()
    yield
    left = processes.children() - before
    if left:
        left = set(processes.wait_for_end(left - processes.of(home)))
    assert not left, f"left behind: {left}"
