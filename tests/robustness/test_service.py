"""The service under a real user's service manager: installed, reloaded, killed, stalled, upgraded."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from oblix._launcher import units
from support.drivers import user_manager
from support.drivers.user_manager import UserManager

pytestmark = pytest.mark.skipif(bool(user_manager.why_not()), reason=user_manager.why_not() or "it runs")
WAIT_S = 60.0


@pytest.fixture(scope="module")
def manager() -> Iterator[UserManager]:
    if hidden := units.hidden_path():
        pytest.skip(f"a service has a /tmp of its own, and would not see {hidden}")
    with user_manager.run_manager() as one:
        config = one.home / ".config" / "oblix"
        config.mkdir(parents=True)
        (config / "config.toml").write_text("[embedded]\nenabled = false\n")
        subprocess.run(["chown", "-R", f"{user_manager.UID}", one.home], check=True)
        done = one.oblix("service", "install")
        assert done.returncode == 0, done.stderr + (one.home / "manager.log").read_text()
        assert "serves" in done.stdout
        yield one


def eventually(fact: Callable[[], bool]) -> None:
    """Nothing announces what a service manager has done: look until it has."""
    until = time.monotonic() + WAIT_S
    while not fact():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_systemd_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    file = tmp_path / units.UNIT
    file.write_text(units.systemd_unit(units.systemd_version(), os.environ))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", file],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_runs_and_says_so(manager: UserManager) -> None:
    said = manager.oblix("service", "status")
    assert said.returncode == 0
    assert "serving on" in said.stdout
    assert "starts" in said.stdout
    assert f"process {manager.show('MainPID')}" in manager.oblix("status").stdout


def test_the_sandbox_is_real(manager: UserManager) -> None:
    pid = manager.show("MainPID")
    mounts = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    assert any(" /tmp " in line and "systemd-private" in line for line in mounts)
    assert Path(f"/proc/{pid}/uid_map").read_text().split() != ["0", "0", "4294967295"]
    assert "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()


def test_its_directories_are_the_users_alone(manager: UserManager) -> None:
    for place in (".local/state/oblix", ".config/oblix"):
        mode = (manager.home / place).stat().st_mode & 0o077
        assert mode == 0 or place == ".config/oblix"  # the test made that one


def test_killed_it_comes_back_and_conversations_are_there(manager: UserManager) -> None:
    session = manager.oblix("sessions", "create", "kept").stdout.strip()
    before = manager.show("MainPID")
    os.kill(int(before), signal.SIGKILL)
    eventually(lambda: manager.show("MainPID") not in ("0", before) and manager.show("SubState") == "running")
    assert "kept" in manager.oblix("sessions", "list").stdout
    assert session in manager.oblix("sessions", "list").stdout


def test_a_reload_with_a_broken_file_changes_nothing_and_is_told(manager: UserManager) -> None:
    file, before = manager.home / ".config/oblix/config.toml", manager.show("MainPID")
    good = file.read_text()
    file.write_text(good + "[daemon]\ngrace_s = -1\n")
    done = manager.oblix("reload")
    assert done.returncode == 1
    assert "line 4" in done.stderr
    assert "grace_s" in done.stderr
    manager.run("systemctl", "--user", "reload", "oblixd")
    eventually(lambda: "was not read again" in manager.show("StatusText"))
    file.write_text(good)
    manager.run("systemctl", "--user", "reload", "oblixd")
    eventually(lambda: "was not read again" not in manager.show("StatusText"))
    assert (manager.show("MainPID"), manager.show("ActiveState")) == (before, "active")


def test_a_stalled_daemon_is_restarted(manager: UserManager) -> None:
    directory = manager.home / ".config/systemd/user/oblixd.service.d"
    directory.mkdir()
    (directory / "soon.conf").write_text("[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n")
    manager.run("systemctl", "--user", "daemon-reload")
    manager.run("systemctl", "--user", "restart", "oblixd")
    before = manager.show("MainPID")
    os.kill(int(before), signal.SIGSTOP)
    eventually(lambda: manager.show("MainPID") not in ("0", before) and manager.show("SubState") == "running")
    shutil.rmtree(directory)
    manager.run("systemctl", "--user", "daemon-reload")
    manager.run("systemctl", "--user", "restart", "oblixd")


def test_restart_goes_on_as_the_same_service(manager: UserManager) -> None:
    before = manager.show("MainPID")
    done = manager.oblix("restart")
    assert done.returncode == 0, done.stderr
    assert manager.show("MainPID") not in ("0", before)
    assert f"process {manager.show('MainPID')}" in done.stdout


@pytest.fixture(scope="module")
def session_before(manager: UserManager) -> str:
    """A session that was made before the user logged out and in."""
    session = manager.oblix("sessions", "create", "of the last login").stdout.strip()
    manager.log_out()
    manager.log_in()
    return session


def test_after_logging_out_and_in_it_serves_what_was_said(manager: UserManager, session_before: str) -> None:
    eventually(lambda: manager.show("SubState") == "running")
    assert session_before in manager.oblix("sessions", "list").stdout
    assert f"process {manager.show('MainPID')}" in manager.oblix("status").stdout


def test_where_the_socket_would_be_in_a_private_tmp_it_refuses(manager: UserManager) -> None:
    sandbox = ["-p", "PrivateUsers=yes", "-p", "PrivateTmp=yes"]
    command = ["env", "-u", "XDG_RUNTIME_DIR", user_manager.sys.executable, "-P", "-m", "oblixd"]
    state = ["env", f"XDG_STATE_HOME={manager.home}/elsewhere"]
    done = manager.run("systemd-run", "--user", "--wait", "--pipe", *sandbox, *state, *command)
    assert done.returncode == 1
    assert "PrivateTmp" in done.stderr


def test_uninstall_leaves_the_conversations(manager: UserManager) -> None:
    """Last: the others need the service."""
    done = manager.oblix("service", "uninstall")
    assert done.returncode == 0, done.stderr
    assert not (manager.home / ".config/systemd/user/oblixd.service").exists()
    assert (manager.home / ".local/state/oblix/store").is_dir()
    assert manager.oblix("service", "status").returncode == 1
