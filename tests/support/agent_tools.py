"""The agents' packages, each in the version that was looked at, installed once below the root."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support.repository.files import ROOT

NPM = (
    "@openai/codex@0.171.0",
    "opencode-ai@1.18.33",
    "@qwen-code/qwen-code@0.24.4",
    "@earendil-works/pi-coding-agent@1.6.0",
    "@anthropic-ai/claude-code@2.1.197",
)
PYTHON = {"llm": ("llm==0.36",)}
"""Each in an environment of its own: they pin what they need."""
LONGEST_INSTALL_S = 900


@dataclass(frozen=True)
class Tools:
    """Where the agents' commands are."""

    path: str
    """As in PATH."""

    @classmethod
    def installed(cls) -> Tools:
        """Install what is missing. The folder's name says what is in it."""
        known = hashlib.sha256(repr((NPM, PYTHON)).encode()).hexdigest()[:12]
        folder = ROOT / ".cache" / f"agents-{known}"
        npm, done = folder / "npm", folder / "done"
        environments = {name: folder / name for name in PYTHON}
        if not done.exists():
            npm.mkdir(parents=True, exist_ok=True)
            _run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(npm), *NPM)
            for name, environment in environments.items():
                _run(sys.executable, "-m", "venv", str(environment))
                _run(str(environment / "bin/pip"), "install", "--quiet", *PYTHON[name])
            done.touch()
        commands = [npm / "node_modules/.bin", *(_only(environments[name], name) for name in PYTHON)]
        return cls(os.pathsep.join(map(str, commands)))


def _only(environment: Path, name: str) -> Path:
    """Return a folder with this one command: an environment has a `python` of its own beside it."""
    folder = environment / "only"
    folder.mkdir(exist_ok=True)
    command = folder / name
    if not command.is_symlink():
        command.symlink_to(environment / "bin" / name)
    return folder


def _run(*words: str) -> None:
    subprocess.run(words, check=True, timeout=LONGEST_INSTALL_S, stdin=subprocess.DEVNULL)
