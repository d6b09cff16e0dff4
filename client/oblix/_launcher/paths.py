"""Where this user's daemon listens and logs. Computes the same as `oblixd.app.paths`, on its own."""

from __future__ import annotations

import os
import pwd
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

_LONGEST_RUNTIME_DIR = 78
_LONGEST_SOCKET = 103


class PathError(Exception):
    """The environment names a place that can't be used. The message says why and what to do."""


def socket_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the daemon listens, running or not. Ask anew after starting one.

    Raises PathError for an OBLIX_HOME that is not absolute, and where somebody
    else could be the one who listens.
    """
    data, runtime_dir = _directories(environ)
    socket = _published_socket(data) or runtime_dir / "oblixd.sock"
    _check(socket.parent)
    return socket


def log_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where a daemon logs that a client started. Raises PathError for a relative OBLIX_HOME."""
    return _directories(environ)[0] / "oblixd.log"


def engine_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the embedded engine is, for a Python of this version whose environment has none."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if given := environ.get("OBLIX_HOME"):
        return Path(given) / "engine" / version
    data = _xdg(environ, "XDG_DATA_HOME") or _home(environ) / ".local" / "share"
    return data / "oblix" / "engine" / version


def _directories(environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Return the directories of data and of sockets."""
    if given := environ.get("OBLIX_HOME"):
        home = Path(given)
        if not home.is_absolute():
            raise PathError(f"OBLIX_HOME must be an absolute path; {given!r} was given.")
        return home, _short(home)
    state = _xdg(environ, "XDG_STATE_HOME") or _home(environ) / ".local" / "state"
    runtime = _xdg(environ, "XDG_RUNTIME_DIR")
    data = state / "oblix"
    return data, _short(runtime / "oblix") if runtime and _is_usable(runtime) else _fallback(data)


def _fallback(data: Path) -> Path:
    """Without XDG_RUNTIME_DIR. Who moved their data elsewhere meets no other daemon there."""
    home = _passwd_home()
    if home is not None and data == home / ".local" / "state" / "oblix":
        return _temporary()
    return _hash_path(data)


def _is_usable(runtime: Path) -> bool:
    """Return whether sockets may go there. After `su` or `sudo` it is often another user's, or not there."""
    place = runtime
    while not place.exists() and place != place.parent:
        place = place.parent
    is_ours = place != runtime or place.stat().st_uid == os.getuid()
    return is_ours and os.access(place, os.W_OK | os.X_OK)


def _xdg(environ: Mapping[str, str], name: str) -> Path | None:
    path = Path(environ.get(name, ""))
    return path if path.is_absolute() else None


def _home(environ: Mapping[str, str]) -> Path:
    given = Path(environ.get("HOME", ""))
    home = given if given.is_absolute() else _passwd_home()
    if home is None:
        raise PathError(f"User {os.getuid()} has no home directory: set OBLIX_HOME to a directory of yours.")
    return home


def _passwd_home() -> Path | None:
    """Return the home directory of the user's entry. In a container a user need not have one."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return None


def _temporary() -> Path:
    return Path(f"/tmp/oblix-{os.getuid()}")  # noqa: S108 - its owner and mode are checked before it is used


def _short(runtime_dir: Path) -> Path:
    """Return the directory itself, or a short one where a socket's path would be too long."""
    too_long = len(os.fsencode(runtime_dir)) > _LONGEST_RUNTIME_DIR
    return _hash_path(runtime_dir) if too_long else runtime_dir


def _hash_path(directory: Path) -> Path:
    import hashlib  # noqa: PLC0415 - most paths are short enough

    return _temporary() / hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]


def _published_socket(data: Path) -> Path | None:
    """Return what the running daemon says. Its environment may differ from ours, as under cron."""
    try:
        told = (data / "socket").read_bytes().rstrip(b"\n")
    except OSError:
        return None
    path = Path(os.fsdecode(told))
    return path if path.is_absolute() and len(told) <= _LONGEST_SOCKET else None


def _check(directory: Path) -> None:
    """Nobody else may listen in the daemon's name. A directory that is missing harms nobody."""
    for path in (_temporary(), directory) if directory.is_relative_to(_temporary()) else (directory,):
        try:
            found = path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise PathError(f"{path} is not a directory that only you can write to: set OBLIX_HOME to one.")
