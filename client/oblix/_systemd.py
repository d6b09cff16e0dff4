"""Our unit of the user's systemd, where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

UNIT = "oblixd.service"
TIMEOUT_S = 30.0
SYSTEM_DIRECTORIES = ("/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user")


def start() -> bool:
    """Have systemd start the daemon. False where our unit is not installed, or systemd could not.

    With OBLIX_HOME set the daemon that is wanted is another one than the unit's.
    """
    systemctl = shutil.which("systemctl")
    if systemctl is None or os.environ.get("OBLIX_HOME") or not _is_installed():
        return False
    command = [systemctl, "--user", "--no-ask-password", "start", UNIT]
    try:
        done = subprocess.run(command, check=False, capture_output=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _is_installed() -> bool:
    home = Path.home()
    own = (
        Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "systemd/user",
        Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share") / "systemd/user",
    )
    return any((Path(directory) / UNIT).is_file() for directory in (*own, *SYSTEM_DIRECTORIES))
