"""Directories, the socket, secrets on disk, room, and the clock."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from oblix._launcher import paths
from oblix.cli.doctor import Finding, Surroundings

LEAST_FREE = 1 << 30
"""Bytes. Below that conversations soon can't be written."""
NO_ROOM = 64 << 20
OLDEST_CLOCK = 1_767_225_600.0
"""2026-01-01, before which no Oblix was made."""
FUTURE_S = 86_400.0
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "afs"}
"""File systems on which a memory map of several processes is not one."""
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def directories(around: Surroundings) -> Iterator[Finding]:
    """Look at the directories: whose they are, and who can open them."""
    try:
        data, socket = paths.log_path(around.environ).parent, paths.socket_path(around.environ)
    except (paths.PathError, OSError) as error:
        yield Finding("fault", "directory-unusable", str(error), "Set OBLIX_HOME to a directory of yours.")
        return
    for name, directory in {"data": data, "runtime": socket.parent}.items():
        yield from _directory(name, directory)
    if not around.environ.get("XDG_RUNTIME_DIR") and not around.environ.get("OBLIX_HOME"):
        what = f"XDG_RUNTIME_DIR is not set, as after su, sudo or under cron: the socket is {socket}"
        yield Finding("note", "no-runtime-dir", what, "Log in as this user where services should be used.")


def _directory(name: str, directory: Path) -> Iterator[Finding]:
    try:
        found = directory.stat()
    except FileNotFoundError:
        yield Finding("ok", f"{name}-directory", f"{directory} is not there yet; the daemon makes it")
        return
    except OSError as error:
        what = f"the {name} directory {directory} can't be looked at: {error.strerror}"
        yield Finding("fault", "directory-unusable", what, f"`ls -ld {directory}` shows whose it is.")
        return
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.getuid():
        what = f"the {name} directory {directory} belongs to user {found.st_uid}, not to you"
        yield Finding("fault", "directory-foreign", what, f"`sudo chown -R {os.getuid()} {directory}`")
    elif mode & OTHERS:
        what = f"others can open the {name} directory {directory} (mode {mode:04o})"
        yield Finding("fault", "directory-open", what, f"`chmod 700 {directory}`")
    elif not os.access(directory, os.W_OK | os.X_OK):
        what = f"the {name} directory {directory} can't be written to"
        yield Finding("fault", "directory-unusable", what, f"`chmod 700 {directory}`")
    else:
        yield Finding("ok", f"{name}-directory", f"{directory} is yours alone")


def secrets(around: Surroundings) -> Iterator[Finding]:
    """Look at who can read tokens, keys and the configuration."""
    data = _data(around)
    if data is None:
        return
    home = around.environ.get("OBLIX_HOME")
    base = around.environ.get("XDG_CONFIG_HOME", "")
    config = Path(base) if base.startswith("/") else Path.home() / ".config"
    own = Path(home) if home else config / "oblix"
    files = [data / "tokens.json", data / "token", *sorted((own / "keys").glob("*.key"))]
    files += [
        Path(str(value)) for key, value in around.settings.items() if key.endswith("key_file") and value
    ]
    open_ones = [file for file in files if file.exists() and file.stat().st_mode & OTHERS]
    for file in open_ones:
        what = f"others can read {file}, which holds a secret"
        yield Finding("fault", "secret-open", what, f"`chmod 600 {file}`, and think of a new key or token.")
    if not open_ones:
        yield Finding("ok", "secrets", "files with tokens and keys are yours alone")


def room(around: Surroundings) -> Iterator[Finding]:
    """Look at how much room the disk of the conversations has, and what kind it is."""
    data = _data(around)
    if data is None:
        return
    place = next(one for one in (data, *data.parents) if one.exists())
    usage = shutil.disk_usage(place)
    free = f"{usage.free / 1e9:.1f} GB are free at {place}"
    remedy = "Free some; `oblix sessions prune --days 365 --delete --dry-run` says what is old."
    if usage.free < NO_ROOM:
        yield Finding("fault", "disk-full", f"the disk is full: {free}", remedy)
    elif usage.free < LEAST_FREE:
        yield Finding("warning", "disk-nearly-full", f"the disk is nearly full: {free}", remedy)
    else:
        yield Finding("ok", "disk", free)
    if (kind := _file_system(place)) in REMOTE:
        what = f"{place} is on a network's file system ({kind}), on which a database can be damaged"
        yield Finding("fault", "remote-disk", what, "Set XDG_STATE_HOME or OBLIX_HOME to a local directory.")


def clock(around: Surroundings) -> Iterator[Finding]:
    """Look at whether the clock can be right, and has not gone back."""
    now, data = time.time(), _data(around)
    remedy = "Set it: `timedatectl set-ntp true`."
    files = [one for one in data.iterdir() if one.is_file()] if data is not None and data.is_dir() else []
    newest = max((one.stat().st_mtime for one in files), default=0.0)
    if now < OLDEST_CLOCK:
        what = f"the clock says {time.strftime('%Y-%m-%d', time.gmtime(now))}, which is past"
        yield Finding("fault", "clock-wrong", what, remedy)
    elif newest > now + FUTURE_S:
        days = (newest - now) / 86_400
        what = f"the clock went back: a file of the daemon's was written {days:.0f} days from now"
        yield Finding("fault", "clock-wrong", what, remedy)
    else:
        yield Finding("ok", "clock", f"the clock says {time.strftime('%Y-%m-%d %H:%M', time.localtime(now))}")


def _data(around: Surroundings) -> Path | None:
    try:
        return paths.log_path(around.environ).parent
    except (paths.PathError, OSError):
        return None


def _file_system(path: Path) -> str:
    """Name the kind of the file system that a place is on; empty where that can't be told."""
    try:
        mounts = [
            line.split() for line in Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
        ]
    except OSError:
        return ""
    above = [(one[1], one[2]) for one in mounts if path.is_relative_to(one[1])]
    return max(above, key=lambda one: len(one[0]), default=("", ""))[1]
