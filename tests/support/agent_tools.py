"""Other people's agents, each in the version that was looked at, installed once below the root."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.repository.files import ROOT

LONGEST_INSTALL_S = 1800


@dataclass(frozen=True)
class Package:
    """Where one agent comes from."""

    requirement: str
    """As npm or pip takes it."""
    command: str
    """What is run."""
    node: tuple[int, ...] = ()
    """The oldest Node that it runs on. Empty: it is a Python package."""
    python: tuple[int, int] = (3, 11)
    """The oldest Python that it runs on."""
    before: tuple[int, int] = (3, 14)
    """The first Python that it does not run on."""
    override: str = ""
    """A requirement in place of one of its own that nobody can fulfil any more."""


PACKAGES: Mapping[str, Package] = {
    "aider": Package("aider-chat==0.86.2", "aider", before=(3, 13)),
    "claude": Package("@anthropic-ai/claude-code@2.1.197", "claude", node=(18,)),
    "cline": Package("cline@3.0.65", "cline", node=(20,)),
    "codex": Package("@openai/codex@0.171.0", "codex", node=(16,)),
    "continue": Package("@continuedev/cli@1.5.47", "cn", node=(20, 19)),
    "gptme": Package("gptme==0.35.1", "gptme", before=(3, 14)),
    "llm": Package("llm==0.36", "llm"),
    "opencode": Package("opencode-ai@1.18.33", "opencode", node=(18,)),
    "pi": Package("@earendil-works/pi-coding-agent@1.6.0", "pi", node=(22, 19)),
    "qwen-code": Package("@qwen-code/qwen-code@0.24.4", "qwen", node=(20,)),
    "vibe": Package("mistral-vibe==3.0.3", "vibe", python=(3, 12), override="certifi"),
}
"""By the name that `oblix run` and `oblix connect` know."""


def install(name: str) -> Path:
    """Return a folder that holds this agent's command and nothing else. Install it where it is missing.

    The test is skipped on a machine that can't run it.
    """
    package = PACKAGES[name]
    folder = ROOT / ".cache/agents" / package.requirement.replace("/", "_")
    only = folder / "only"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Tests run side by side, and want the same agent.
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not only.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _install_with_npm(package, folder) if package.node else _install_with_uv(package, folder)
            only.mkdir()
            source = folder / ("node_modules/.bin" if package.node else "bin") / package.command
            (only / package.command).symlink_to(source)
    return only


def path_of(*names: str) -> str:
    """Return a PATH with these agents and nothing of the person's own."""
    return os.pathsep.join([*(str(install(name)) for name in names), *_system()])


def _system() -> list[str]:
    node = shutil.which("node")
    return [*([str(Path(node).parent)] if node else []), "/usr/local/bin", "/usr/bin", "/bin"]


def _install_with_npm(package: Package, folder: Path) -> None:
    if shutil.which("npm") is None or _node_version() < package.node:
        wanted = ".".join(map(str, package.node))
        pytest.skip(f"{package.requirement} needs npm and Node {wanted} or newer")
    folder.mkdir(parents=True)
    quiet = ("--silent", "--no-audit", "--no-fund")
    _run("npm", "install", *quiet, "--prefix", str(folder), package.requirement)


def _install_with_uv(package: Package, folder: Path) -> None:
    python = _python(package)
    folder.mkdir(parents=True)
    overrides = folder / "overrides.txt"
    overrides.write_text(package.override)
    uv = (sys.executable, "-m", "uv")
    _run(*uv, "venv", "--quiet", "--allow-existing", "--python", python, str(folder))
    _run(*uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python"),
         "--overrides", str(overrides), package.requirement)  # fmt: skip


def _python(package: Package) -> str:
    """Return a Python that the package runs on: this one, or one of the machine."""
    if package.python <= sys.version_info[:2] < package.before:
        return sys.executable
    for minor in range(package.python[1], package.before[1]):
        for found in (shutil.which(f"python3.{minor}"), *_of_pyenv(minor)):
            if found and subprocess.run([found, "-c", ""], check=False, capture_output=True).returncode == 0:
                return str(found)
    pytest.skip(f"{package.requirement} needs Python {'.'.join(map(str, package.python))} or newer")


def _of_pyenv(minor: int) -> Iterator[Path]:
    """Find a Python whose shim in PATH only says that another version is chosen."""
    return (Path.home() / ".pyenv/versions").glob(f"3.{minor}.*/bin/python3.{minor}")


def _node_version() -> tuple[int, ...]:
    shown = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout
    return tuple(int(part) for part in shown.strip().removeprefix("v").split("."))


def _run(*words: str) -> None:
    subprocess.run(words, check=True, timeout=LONGEST_INSTALL_S, stdin=subprocess.DEVNULL)
