"""A real `systemd --user` of a user of its own, in a mount namespace and a cgroup of its own. Needs root.

The machine need not have been booted with systemd: the manager believes so where /run/systemd/system exists.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SYSTEMD = Path("/usr/lib/systemd/systemd")
UNIFIED = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
UID = 61_987
NAME = "oblix-test"
ROOT = Path(__file__).parents[3]
_SETUP = """
set -eu
mount --make-rprivate /
# As on a machine that systemd booted, /run is a mount: else a sandbox mounts another one over it.
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/systemd {runtime}
# Sandboxes are set up below it, by the user: what the first process makes at boot is missing here.
mount -t tmpfs -o mode=1777 tmpfs /run/systemd
mkdir /run/systemd/system
mount -t tmpfs -o mode=0700,uid={uid} tmpfs {runtime}
cp /etc/passwd {home}/passwd
echo '{name}:x:{uid}:{uid}::{home}:/bin/bash' >> {home}/passwd
mount --bind {home}/passwd /etc/passwd
{opening}
mount -t cgroup2 cgroup2 /sys/fs/cgroup
chown {uid} /sys/fs/cgroup /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/cgroup.subtree_control
touch {home}/ready
exec setpriv --reuid {uid} --regid {uid} --clear-groups env -i {environ} {systemd} --user
"""
_OPENING = """
mkdir -p /run/prefix
mount --bind {prefix} /run/prefix
mount -t tmpfs -o mode=0755 tmpfs {closed}
mkdir -p {prefix}
mount --move /run/prefix {prefix}
"""
"""Makes the Python of a superuser's home reachable for the user, and nothing else of it."""


class UserManager:
    """The manager, and commands run beside it as its user."""

    def __init__(self, home: Path, cgroup: Path) -> None:
        self.home = home
        self._cgroup = cgroup
        self._logins = 0
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self._logins += 1
        (self.home / "ready").unlink(missing_ok=True)
        cgroup = self._cgroup / f"login{self._logins}"
        cgroup.mkdir()
        command = f"exec unshare -m -C bash -c {shlex.quote(_script(self.home))}"
        start = f"echo $$ > {cgroup}/cgroup.procs; {command}"
        with (self.home / "manager.log").open("ab") as log:
            return subprocess.Popen(["bash", "-c", start], stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def log_out(self) -> None:
        """End the manager with all that it runs. Nothing is left of the user's directory under /run."""
        self.run("systemctl", "--user", "exit")
        self._process.wait(120)

    def log_in(self) -> None:
        """Start a manager for the same home, after `log_out`."""
        self._process = self._start()
        self.wait_until_running()

    def wait_until_running(self) -> None:
        """Wait until the manager takes commands."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if (self.home / "ready").exists():
                state = self.run("systemctl", "--user", "is-system-running").stdout.strip()
                if state in ("running", "degraded"):
                    return
            time.sleep(0.1)  # nothing announces that the manager listens
        raise AssertionError((self.home / "manager.log").read_text())

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command as the user, where the manager is."""
        enter = ["nsenter", "-t", f"{self._process.pid}", "-m", "-C"]
        become = ["setpriv", "--reuid", f"{UID}", "--regid", f"{UID}", "--clear-groups"]
        given = [f"{name}={value}" for name, value in {**_environ(self.home), **environ}.items()]
        command = [*enter, *become, "env", "-i", *given, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=180, cwd="/")

    def oblix(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the command `oblix` so."""
        return self.run(sys.executable, "-P", "-m", "oblix", *words, **environ)

    def show(self, name: str) -> str:
        """Return one property of the service."""
        return self.run("systemctl", "--user", "show", "-p", name, "--value", "oblixd").stdout.strip()


def why_not() -> str:
    """Say why none can be had here; empty: one can."""
    if os.geteuid():
        return "not root"
    tools = ("unshare", "nsenter", "setpriv", "systemctl")
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing or not SYSTEMD.exists():
        return f"without {', '.join(missing) or SYSTEMD}"
    return "" if _cgroups() else "without cgroup2"


@contextmanager
def run_manager() -> Iterator[UserManager]:
    """A manager for a block. Its home is new, and gone afterwards; a sandbox hides what is in /tmp."""
    home = Path(tempfile.mkdtemp(prefix="oblix-um-", dir="/home"))
    shutil.chown(home, UID, UID)
    cgroup = (_cgroups() or UNIFIED[0]) / home.name
    cgroup.mkdir()
    manager = UserManager(home, cgroup)
    try:
        manager.wait_until_running()
        yield manager
    finally:
        manager.log_out()
        _end_all_in(cgroup)
        shutil.rmtree(home)


def _script(home: Path) -> str:
    prefix = Path(sys.base_prefix).resolve()
    closed = next((one for one in reversed(prefix.parents) if not one.stat().st_mode & 0o001), None)
    opening = _OPENING.format(prefix=prefix, closed=closed) if closed else ""
    environ = " ".join(shlex.quote(f"{name}={value}") for name, value in _environ(home).items())
    return _SETUP.format(
        runtime=f"/run/user/{UID}",
        uid=UID,
        name=NAME,
        home=home,
        opening=opening,
        environ=environ,
        systemd=SYSTEMD,
    )


def _environ(home: Path) -> dict[str, str]:
    path = "/usr/local/bin:/usr/bin:/bin"
    return {"HOME": str(home), "PATH": path, "USER": NAME, "XDG_RUNTIME_DIR": f"/run/user/{UID}"}


def _cgroups() -> Path | None:
    return next((one for one in UNIFIED if (one / "cgroup.procs").exists()), None)


def _end_all_in(cgroup: Path) -> None:
    """End what is left in a cgroup, and remove it with those below."""
    for one in sorted(cgroup.rglob("cgroup.procs"), key=lambda path: -len(path.parts)):
        for pid in one.read_text().split():
            os.kill(int(pid), 9)
    for one in sorted([cgroup, *[p for p in cgroup.rglob("*") if p.is_dir()]], key=lambda p: -len(p.parts)):
        for _ in range(100):
            try:
                one.rmdir()
            except OSError:
                time.sleep(0.05)  # the last process is just ending
            else:
                break
