"""`oblix service`: has the daemon run from login on, watched by the system's service manager."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from oblix._launcher import paths, units
from oblix.cli import daemon
from oblix.cli.commands.service.stop import end
from oblix.cli.errors import CommandError
from oblix.cli.output import tables

WAIT_S = 60.0
SHOWN = ("LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "NRestarts", "StatusText")
ACTIVE = "active"
JOURNAL_LINES = 50


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments and the actions."""
    parser.epilog = (
        "Without the service, the first program that needs the daemon starts it. See docs/how-to/service.md."
    )
    actions = parser.add_subparsers(title="subcommands", metavar="SUBCOMMAND", required=True)
    install = actions.add_parser("install", help="write the unit, and start the daemon now and at each login")
    install.add_argument("--print", action="store_true", help="only print what would be written")
    install.add_argument(
        "--memory-max",
        default="80%",
        metavar="SIZE",
        help="the memory that the daemon and its worker may take, as 8G or 80%% (default); empty: no limit",
    )
    install.set_defaults(run=_install)
    uninstall = actions.add_parser("uninstall", help="stop the service, and remove the unit")
    uninstall.set_defaults(run=_uninstall)
    status = actions.add_parser("status", help="say whether the service is installed, and its state")
    status.add_argument("--json", action="store_true", help="print it as JSON")
    status.set_defaults(run=_status)
    logs = actions.add_parser("logs", help="show the daemon's log")
    logs.add_argument("-f", "--follow", action="store_true", help="follow the log")
    logs.add_argument(
        "-n", "--lines", type=int, default=JOURNAL_LINES, metavar="N", help="so many lines back"
    )
    logs.set_defaults(run=_logs)


def _install(arguments: argparse.Namespace) -> None:
    if sys.platform == "darwin":
        _install_launchd(only_print=arguments.print)
        return
    version = units.systemd_version()
    text = units.systemd_unit(version, os.environ, arguments.memory_max)
    if arguments.print:
        print(text, end="")
        return
    _check_manager(version)
    file = units.unit_file(os.environ)
    former = _file_text(file)
    for made in _make_directories():
        print(f"Made {made}, which only you can open.")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    print(f"{'Wrote' if former is None else 'Wrote anew'} {file}.")
    _manage("daemon-reload")
    _manage("enable", units.UNIT)
    print("It starts at each login from now on.")
    if daemon.is_running() and _property("ActiveState") != ACTIVE:
        gone = end(daemon.running_daemon(), None)
        print(f"Ended the daemon that a program had started (process {gone.pid}).")
    _manage("restart" if former not in (None, text) else "start", units.UNIT)
    print(f"oblixd (process {_property('MainPID')}) serves.")
    if _lingers() is False:
        print("It ends when you log out. `loginctl enable-linger` keeps it running, and starts it at boot.")


def _uninstall(_arguments: argparse.Namespace) -> None:
    if sys.platform == "darwin":
        file = _launchd_file()
        subprocess.run(["launchctl", "unload", "-w", str(file)], check=False)
        file.unlink(missing_ok=True)
        return
    file = units.unit_file(os.environ)
    if not file.is_file():
        raise CommandError(f"there is no {file}: the service is not installed.")
    _check_manager(units.systemd_version())
    _manage("disable", "--now", units.UNIT)
    file.unlink()
    _manage("daemon-reload")
    print(f"Stopped the service, and removed {file}.")
    print("Conversations and settings stay where they are; the next program that needs a daemon starts one.")


def _status(arguments: argparse.Namespace) -> int:
    if arguments.json:
        return _status_json()
    if units.systemd_version() == 0 or not os.environ.get("XDG_RUNTIME_DIR"):
        print("service    no service manager of this user runs here")
        return 1
    known = {name: _property(name) for name in SHOWN}
    installed = known["LoadState"] == "loaded"
    print(f"service    {'installed' if installed else 'not installed: `oblix service install`'}")
    if installed:
        print(f"unit       {_property('FragmentPath')}")
        print(f"at login   {'starts' if known['UnitFileState'] == 'enabled' else 'does not start'}")
        print(f"state      {known['ActiveState']} ({known['SubState']})")
        print(f"process    {known['MainPID']}, restarted {known['NRestarts']} times after failures")
        print(f"says       {known['StatusText'] or 'nothing'}")
    return 0 if known["ActiveState"] == ACTIVE else 1


def _status_json() -> int:
    has_manager = units.systemd_version() != 0 and bool(os.environ.get("XDG_RUNTIME_DIR"))
    known = {name: _property(name) for name in SHOWN} if has_manager else dict.fromkeys(SHOWN, "")
    tables.show_json(
        {
            "installed": known["LoadState"] == "loaded",
            "at_login": known["UnitFileState"] == "enabled",
            "state": known["ActiveState"] or None,
            "pid": int(known["MainPID"] or 0) or None,
            "restarts": int(known["NRestarts"] or 0),
            "says": known["StatusText"] or None,
        }
    )
    return 0 if known["ActiveState"] == ACTIVE else 1


def _logs(arguments: argparse.Namespace) -> int:
    lines = ["-n", f"{arguments.lines}"]
    follow = ["-f"] if arguments.follow else []
    if units.is_installed() and shutil.which("journalctl"):
        command = ["journalctl", "--user", "-u", units.UNIT, "--no-hostname", *lines, *follow]
    else:
        log = paths.log_path()
        if not log.exists():
            raise CommandError(f"there is no log at {log} yet.")
        command = ["tail", *lines, *follow, str(log)]
    sys.stdout.flush()
    return subprocess.run(command, check=False).returncode


def _check_manager(version: int) -> None:
    if os.environ.get("OBLIX_HOME"):
        raise CommandError("the service uses the usual directories: unset OBLIX_HOME, then run this again.")
    if not version:
        raise CommandError("systemd is not here; docs/how-to/service.md says what else starts the daemon.")
    if not os.environ.get("XDG_RUNTIME_DIR"):
        raise CommandError(
            "no service manager of this user runs: XDG_RUNTIME_DIR is not set, as after `su` or `sudo`. "
            "Log in as that user, or use `machinectl shell USER@`."
        )
    if hidden := units.hidden_path():
        raise CommandError(
            f"the service has a /tmp of its own and would not see {hidden}: install Oblix elsewhere, "
            "then run this again there."
        )
    done = subprocess.run(
        ["systemctl", "--user", "show", "-p", "Version"], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise CommandError(f"the service manager of this user does not answer: {done.stderr.strip()}")


def _make_directories() -> Iterator[Path]:
    """Make the directories of the daemon's, for this user alone, and name those that were not there."""
    for variable, usual in (("XDG_STATE_HOME", ".local/state"), ("XDG_CONFIG_HOME", ".config")):
        base = os.environ.get(variable, "")
        directory = (Path(base) if base.startswith("/") else Path.home() / usual) / "oblix"
        if not directory.exists():
            directory.mkdir(mode=0o700, parents=True)
            yield directory


def _manage(*words: str) -> None:
    """Tell the user's service manager. Raises CommandError with what it said, and where to look."""
    command = ["systemctl", "--user", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=10 * WAIT_S)
    if done.returncode:
        what = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise CommandError(
            f"`{' '.join(command)}` failed: {what} `oblix service logs` shows the daemon's log."
        )


def _property(name: str) -> str:
    command = ["systemctl", "--user", "show", "-p", name, "--value", units.UNIT]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


def _lingers() -> bool | None:
    """Return whether the user's services outlive the login. None: it can't be told."""
    command = ["loginctl", "show-user", f"{os.getuid()}", "-p", "Linger", "--value"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() == "yes" if done.returncode == 0 else None


def _file_text(file: Path) -> str | None:
    return file.read_text("utf-8") if file.is_file() else None


def _launchd_file() -> Path:
    return Path.home() / "Library" / "LaunchAgents" / f"{units.LABEL}.plist"


def _install_launchd(*, only_print: bool) -> None:
    text = units.launchd_list(paths.log_path())
    if only_print:
        print(text, end="")
        return
    file = _launchd_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    subprocess.run(["launchctl", "load", "-w", str(file)], check=True)
    print(f"Wrote and loaded {file}.")
