"""Where things are, and that nobody else gets at them.

`OBLIX_HOME` puts everything under one directory, which is then Oblix's alone.
Without it the XDG directories hold. The client finds the same paths on its own
(`oblix._launcher.paths`); a test holds both equal.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oblixd.errors import FailedPreconditionError, invalid_argument, out_of_range

LONGEST_RUNTIME_DIR = 78
"""Bytes. A socket's path may have 103 on macOS (107 on Linux); 24 are for the names of the sockets in it."""
OUR_MARKS = frozenset({"config.toml", "oblixd.lock"})
"""A directory that holds one of them is Oblix's."""
BY_A_CLIENT = frozenset({"launch.lock", "oblixd.log"})
"""What a client that starts the daemon leaves in any directory: tells nothing about it."""


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths of one daemon. Absolute."""

    data: Path
    """The directory of the conversations."""
    config: Path
    """The configuration file. It need not exist."""
    runtime_dir: Path
    """The directory of the sockets, the daemon's and the embedded model's worker's. 0700."""
    socket: Path
    log: Path
    engine: Path
    """Where the embedded model's engine and weights are, where this Python's own environment has none."""
    lock: Path
    """Whoever holds an flock on it is this user's daemon. Beside the socket, so that no two share one."""

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> Paths:
        """Return the paths that an environment asks for. Touches no file.

        Raises InvalidArgumentError for an OBLIX_HOME that is not absolute, and where no home is known.
        """
        data, config, runtime_dir = _directories(environ)
        if len(os.fsencode(runtime_dir)) > LONGEST_RUNTIME_DIR:
            runtime_dir = _hash_path(runtime_dir)
        return cls(
            data=data,
            config=config / "config.toml",
            runtime_dir=runtime_dir,
            socket=runtime_dir / "oblixd.sock",
            log=data / "oblixd.log",
            engine=_engine_base(environ) / f"python{sys.version_info[0]}.{sys.version_info[1]}",
            lock=runtime_dir / "oblixd.lock",
        )

    def use_engine(self) -> None:
        """Let this process find what is in the engine's directory, after all that is installed otherwise."""
        if (place := str(self.engine)) not in sys.path:
            sys.path.append(place)

    @property
    def store(self) -> Path:
        """The directory of the store's file."""
        return self.data / "store"

    @property
    def notice(self) -> Path:
        """The file that tells clients where the socket is, whatever their own environment says."""
        return self.data / "socket"

    def prepare(self) -> None:
        """Make the directories, private to this user.

        Raises FailedPreconditionError DIRECTORY_UNUSABLE where one can't be made and
        DIRECTORY_UNSAFE where one is a symbolic link, somebody else's or open to others, and
        SOCKET_UNREACHABLE where the socket would be in a /tmp that only this process sees.
        """
        if self.data != self.runtime_dir:
            _make_private(self.data, may_be_link=True)
        if self._is_temporary:
            _check_shared(self.runtime_dir)
            _make_private(_temporary())
        _make_private(self.runtime_dir)

    def publish(self) -> None:
        """Tell clients where the socket is. Only for who holds the lock."""
        draft = self.notice.with_suffix(".new")
        draft.write_bytes(os.fsencode(self.socket) + b"\n")
        draft.replace(self.notice)

    def retract(self) -> None:
        """Take back what `publish` told, and a short directory that was made for the socket."""
        self.notice.unlink(missing_ok=True)
        if self._is_temporary:
            # Another daemon's directory stands beside it, or a socket is left in it: then it stays.
            with contextlib.suppress(OSError):
                self.runtime_dir.rmdir()

    @property
    def _is_temporary(self) -> bool:
        return self.runtime_dir.is_relative_to(_temporary())


def _directories(environ: Mapping[str, str]) -> tuple[Path, Path, Path]:
    """Create the directories for data, configuration and sockets."""
    if given := environ.get("OBLIX_HOME"):
        home = Path(given)
        if not home.is_absolute():
            raise out_of_range("OBLIX_HOME_RELATIVE", "OBLIX_HOME", "an absolute path", repr(given))
        return home, home, home
    state = _xdg(environ, "XDG_STATE_HOME") or _home(environ) / ".local" / "state"
    config = _xdg(environ, "XDG_CONFIG_HOME") or _home(environ) / ".config"
    runtime = _xdg(environ, "XDG_RUNTIME_DIR")
    data = state / "oblix"
    is_usable = runtime is not None and _is_usable(runtime)
    return data, config / "oblix", runtime / "oblix" if runtime and is_usable else _fallback(data)


def _engine_base(environ: Mapping[str, str]) -> Path:
    if given := environ.get("OBLIX_HOME"):
        return Path(given) / "engine"
    return (_xdg(environ, "XDG_DATA_HOME") or _home(environ) / ".local" / "share") / "oblix" / "engine"


def _fallback(data: Path) -> Path:
    """Return where sockets go without XDG_RUNTIME_DIR. Who moved their data meets no other daemon there."""
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


def _hash_path(directory: Path) -> Path:
    return _temporary() / hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]


def _xdg(environ: Mapping[str, str], name: str) -> Path | None:
    """Return a base directory; the specification wants one that is not absolute ignored."""
    path = Path(environ.get(name, ""))
    return path if path.is_absolute() else None


def _home(environ: Mapping[str, str]) -> Path:
    given = Path(environ.get("HOME", ""))
    home = given if given.is_absolute() else _passwd_home()
    if home is None:
        message = f"User {os.getuid()} has no home directory: set OBLIX_HOME to a directory of yours."
        raise invalid_argument("HOME_UNKNOWN", message, field="OBLIX_HOME")
    return home


def _passwd_home() -> Path | None:
    """Return the home directory of the user's entry. In a container a user need not have one."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return None


def _temporary() -> Path:
    return Path(f"/tmp/oblix-{os.getuid()}")  # noqa: S108 - owner and mode are checked before it is used


def _check_shared(runtime_dir: Path) -> None:
    """Refuse a socket in a /tmp of the service's own (systemd's PrivateTmp=): no client would find it."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    # proc(5): the fourth column is the directory that is mounted, the fifth where.
    if any(one[4] == "/tmp" and "systemd-private-" in one[3] for one in map(str.split, mounts)):  # noqa: S108
        message = (
            f"The socket would be in {runtime_dir}, in a /tmp that only this service sees "
            "(PrivateTmp=yes), where "
            "no client reaches it: give the unit XDG_RUNTIME_DIR, as a user's service manager "
            "does, or OBLIX_HOME."
        )
        raise FailedPreconditionError("SOCKET_UNREACHABLE", message, path=runtime_dir)


def _make_private(directory: Path, *, may_be_link: bool = False) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat(follow_symlinks=may_be_link)
    except OSError as error:
        message = f"{directory} can't be made ({error.strerror}): set OBLIX_HOME to a directory of yours."
        raise FailedPreconditionError("DIRECTORY_UNUSABLE", message, path=directory) from error
    if not stat.S_ISDIR(found.st_mode):
        raise _unsafe(directory, "it is a symbolic link: name the directory itself")
    if found.st_uid != os.getuid():
        raise _unsafe(directory, f"it belongs to user {found.st_uid}: set OBLIX_HOME to a directory of yours")
    if stat.S_IMODE(found.st_mode) & 0o077:
        _tighten(directory, stat.S_IMODE(found.st_mode))


def _tighten(directory: Path, mode: int) -> None:
    """Close a directory to others, unless it seems to be used for something else than Oblix."""
    names = {path.name for path in directory.iterdir()}
    if names - BY_A_CLIENT and not names & OUR_MARKS:
        raise _unsafe(directory, f"others may open it (mode {mode:04o}): chmod 700 {directory}")
    directory.chmod(0o700)


def _unsafe(directory: Path, why: str) -> FailedPreconditionError:
    return FailedPreconditionError("DIRECTORY_UNSAFE", f"{directory} is not safe: {why}.", path=directory)
