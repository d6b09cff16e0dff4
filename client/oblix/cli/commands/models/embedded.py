"""Brings the embedded model, where the daemon that runs finds it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from oblix._launcher.address import UserSocket
from oblix._launcher.process import holder_at
from oblix.errors import OblixError


def fetch_embedded() -> int:
    """Have the daemon's installation fetch what is missing; without a daemon it is this one. Gives 0 or 1."""
    python = daemon_python() or sys.executable
    if python != sys.executable:
        print(f"oblix: the daemon that runs is of {python}: it is fetched for that one.", file=sys.stderr)
    return 1 if subprocess.run([python, "-P", "-m", "oblixd", "engine"], check=False).returncode else 0


def daemon_python() -> str:
    """Return the Python that the running daemon was started with; empty where none runs."""
    try:
        pid = holder_at(UserSocket().target())
    except OblixError:
        return ""
    return python_of(pid) if pid else ""


def python_of(pid: int) -> str:
    """Return the Python that a process was started with; empty where that can't be told."""
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0])
    except OSError:
        return ""
