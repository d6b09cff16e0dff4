"""Starting the daemon.

Many programs may find at the same moment that none runs. A lock lets one of
them start it while the others wait; the daemon's own lock sees to it that there
is never more than one, whatever happens here.

Our unit of the user's systemd, where it is installed.

Whether a daemon serves.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import site
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from oblix._launcher import paths
from oblix._launcher.process import holder_at, remedy, to_path
from oblix._launcher.units import UNIT
from oblix.errors import DaemonStartError

logger = logging.getLogger(__name__)

TIMEOUT_S = 30.0
SYSTEM_DIRECTORIES = ("/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user")


def start_by_systemd() -> bool:
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
        return True  # it is at it: another daemon beside it would only be in its way
    return done.returncode == 0


def _is_installed() -> bool:
    home = Path.home()
    own = (
        Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "systemd/user",
        Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share") / "systemd/user",
    )
    return any((Path(directory) / UNIT).is_file() for directory in (*own, *SYSTEM_DIRECTORIES))


HEALTH_TIMEOUT_S = 2.0


def is_serving(target: str) -> bool:
    """Ask for the health of what listens at `unix:PATH`. False where nothing does, or it does not serve."""
    return _accepts(to_path(target)) and _health(target) == health_pb2.HealthCheckResponse.SERVING


def is_draining(target: str) -> bool:
    """Ask whether what listens there finishes running answers, and then ends."""
    return _accepts(to_path(target)) and _health(target) == health_pb2.HealthCheckResponse.NOT_SERVING


def _accepts(path: str) -> bool:
    """Return a plain connection first: it is refused at once where nobody listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(HEALTH_TIMEOUT_S)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _health(target: str) -> int | None:
    """Return what its health is. None: it does not say."""
    with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=HEALTH_TIMEOUT_S, wait_for_ready=True
            )
        except grpc.RpcError:
            return None
    return int(answer.status)


WAIT_S = 30.0
"""How long a daemon may take until it serves. Usually it is less than a second."""
LONGEST_WAIT_S = 300.0
"""How long one may take that works on it: on a busy machine, or after a crash with much to check."""
SLOW_S = 10.0
"""After so long the log says what is waited for."""
STANDSTILL_S = 10.0
"""A process that did no work for so long does not come up by itself."""

ALREADY_RUNNING = 75
"""A daemon ends with this code where another one runs, be it just starting or just ending."""

OTHER_WAIT_S = 1.0
"""How long another daemon may take until it serves, or has ended, before starting one is tried again."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.2
REASON_BYTES = 4096
REASON_CHARACTERS = 500
PASSED_ON = ("PATH", "HOME", "LANG")
PASSED_ON_PREFIXES = ("XDG_", "OBLIX_")
NEEDED = ("oblixd", "grpc", "lmdb", "aiohttp")
"""Modules that a daemon does not start without."""
FINDS_DAEMON = """import sys
from importlib.util import find_spec
place, daemon, *needed = sys.argv[1:]
found = find_spec(daemon)
sys.exit(found is None or found.origin != place or None in map(find_spec, needed))
"""
"""A program that fails where the daemon, of this very place, or a module that it needs is not found."""
SECRETS = ("OBLIX_API_KEY", "OBLIX_TOKEN", "OBLIX_ADDRESS", "OBLIX_TOKEN_FILE")

Target = Callable[[], str]


class _FailedError(Exception):
    """A daemon ended before it served. The message is why, in one line."""


class _Work:
    """Tells a daemon that comes up slowly from one that stands still."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._seen: tuple[int, ...] = ()
        self._moved_s = 0.0

    def goes_on(self, pid: int) -> bool:
        """Return whether the process did something lately, and is worth more waiting. Ask often."""
        now, seen = time.monotonic(), _work_of(pid)
        if seen != self._seen:
            self._seen, self._moved_s = seen, now
        is_moving = bool(seen) and now - self._moved_s < STANDSTILL_S
        return is_moving and now - self._began_s < LONGEST_WAIT_S


def _work_of(pid: int) -> tuple[int, ...]:
    """Return how long a process and each of its children had a processor, in the kernel's ticks.

    Nothing where there is no such process, or no /proc to ask.
    """
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [child for task in tasks for child in (task / "children").read_text().split()]
        return tuple(_ticks_of(one) for one in (str(pid), *children))
    except OSError:
        return ()


def _ticks_of(pid: str) -> int:
    # proc(5): behind the name in brackets, fields 14 and 15 are the times in user and in kernel mode.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def ensure_daemon(target: Target) -> None:
    """Return once a daemon serves at the target, which is asked anew each time. Raises DaemonStartError."""
    try:
        log = paths.log_path()
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _ensure(target, log)
    except (OSError, paths.PathError) as error:
        raise DaemonStartError(_unusable(error), reason="UNUSABLE_PLACE") from error
    except _FailedError as error:
        message = f"oblixd could not be started: {error} Its log is {log}."
        raise DaemonStartError(message, reason="DAEMON_FAILED", metadata={"log": str(log)}) from None


def _ensure(target: Target, log: Path) -> None:
    began, work, has_starter = time.time(), _Work(), False

    def goes_on() -> bool:
        return has_starter or work.goes_on(holder_at(target())) or is_draining(target())

    for _ in _pauses(WAIT_S, goes_on):
        if is_serving(target()):
            return
        with _launch_lock(log.with_name("launch.lock")) as lock:
            # Who starts it gives up in time, and lets go of this lock.
            has_starter = lock is None
            if lock is None or is_serving(target()):
                continue
            _check_failure(lock, began)
            if not start_by_systemd():
                _start_here(lock, log, target)
    raise _FailedError(_silence(target(), time.time() - began))


def _unusable(error: Exception) -> str:
    message = f"oblixd could not be started: {str(error).rstrip('.')}."
    advised = "OBLIX_HOME" in message
    return message if advised else f"{message} Set OBLIX_HOME to a directory that you can write to."


def _silence(target: str, waited_s: float) -> str:
    """Say why nothing came of all the waiting."""
    if pid := holder_at(target):
        return f"process {pid} holds its lock and does not serve. {remedy(pid)}"
    return f"it did not serve within {waited_s:.0f} seconds."


def _pauses(wait_s: float, goes_on: Callable[[], bool] = lambda: False, awaited: str = "") -> Iterator[None]:
    """Ever longer ones, until the wait_s (seconds) is over, and then for as long as `goes_on`.

    `awaited`: what the log names when it takes long. Empty: nothing.
    """
    pause, began = FIRST_PAUSE_S, time.monotonic()
    while (took_s := time.monotonic() - began) < wait_s or goes_on():
        if awaited and took_s > SLOW_S:
            logger.warning("waiting for %s, for at most %.0f s", awaited, LONGEST_WAIT_S)
            awaited = ""
        yield
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


@contextmanager
def _launch_lock(path: Path) -> Iterator[int | None]:
    """Take the lock. Returns its file descriptor, or None while somebody else holds it."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield lock if _is_taken(lock) else None
    finally:
        os.close(lock)


def _is_taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check_failure(lock: int, began: float) -> None:
    """Raise what failed for others while this caller waited: it does not start one more attempt."""
    if os.fstat(lock).st_mtime > began and (reason := os.pread(lock, REASON_BYTES, 0)):
        raise _FailedError(reason.decode(errors="replace"))


def _start_here(lock: int, log: Path, target: Target) -> None:
    """Start a daemon, and watch it until it serves, or ends because another one is in the way."""
    size_before = log.stat().st_size if log.exists() else 0
    daemon = _spawn(log)
    work = _Work()
    for _ in _pauses(WAIT_S, lambda: work.goes_on(daemon.pid), f"oblixd (process {daemon.pid}) to serve"):
        if is_serving(target()) or daemon.poll() is not None:
            break
    if daemon.poll() is None:
        # Whoever started it must take note of its end, or it stays in the process table.
        threading.Thread(target=daemon.wait, name="oblixd-end", daemon=True).start()
    elif daemon.returncode == ALREADY_RUNNING:
        any(is_serving(target()) for _ in _pauses(OTHER_WAIT_S))
    else:
        raise _failure(lock, _last_line(log, size_before) or f"it ended with code {daemon.returncode}.")


def _failure(lock: int, reason: str) -> _FailedError:
    os.ftruncate(lock, 0)
    os.pwrite(lock, reason.encode(), 0)
    return _FailedError(reason)


def _spawn(log: Path) -> subprocess.Popen[bytes]:
    """Detached: in a session of its own, without our pipes and terminal, and little of our environment."""
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "oblixd"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=_filter_environment(os.environ) | _module_paths(),
            umask=0o077,
            start_new_session=True,
        )
    finally:
        os.close(output)


def _filter_environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if (name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)) and name not in SECRETS
    }


def _module_paths() -> dict[str, str]:
    """Return where the daemon finds its modules, where this program has them by PYTHONPATH or `--target`.

    Nothing where the interpreter finds them by itself, as in every usual environment.
    """
    folder = Path(__file__).parents[2]
    if folder in map(Path, site.getsitepackages()) or _is_found_alone():
        return {}
    # A module beside the program may have the name of one of the library.
    passed = {Path(sys.argv[0]).resolve().parent, Path.cwd()} - {folder}
    paths = [path for path in sys.path if path and Path(path).is_dir() and Path(path) not in passed]
    return {"PYTHONPATH": os.pathsep.join(paths)}


def _is_found_alone() -> bool:
    """Return whether the interpreter finds the daemon and what it needs without the paths of this program."""
    ours = find_spec("oblixd")
    place = ours.origin if ours is not None else None
    command = [sys.executable, "-P", "-c", FINDS_DAEMON, str(place), *NEEDED]
    return subprocess.run(command, env=_filter_environment(os.environ), cwd="/", check=False).returncode == 0


def _last_line(log: Path, start: int) -> str:
    """Return the last line that was written behind a place: with it, a daemon that can't start says why."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read()[-REASON_BYTES:].decode(errors="replace").split("\n")
    return next((line.strip()[:REASON_CHARACTERS] for line in reversed(lines) if line.strip()), "")
