"""The daemon that runs, its socket and version, other installations, and the service."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from oblix._launcher import paths, units
from oblix._launcher.address import ADDRESS, UserSocket, address_of
from oblix._launcher.launch import is_serving
from oblix._launcher.process import holder_at, remedy, version_at
from oblix._transport.channel import Transport
from oblix.cli.commands.models.embedded import python_of
from oblix.cli.doctor import Finding, Surroundings
from oblix.errors import OblixError
from oblix.v1 import daemon_pb2


def daemon(around: Surroundings) -> Iterator[Finding]:
    """Look at whether a daemon runs, answers, and is of this version."""
    if ADDRESS in around.environ:
        yield from _elsewhere(around)
        return
    try:
        socket = paths.socket_path(around.environ)
        target = UserSocket().target()
    except (OblixError, paths.PathError, OSError):
        return  # `directories` has told why
    if socket.is_symlink() or (socket.exists() and not stat.S_ISSOCK(socket.stat().st_mode)):
        what = f"{socket} is no socket, and the daemon's belongs there"
        yield Finding("fault", "socket-place-taken", what, f"`mv {socket} {socket}.old`")
        return
    pid = holder_at(target)
    if not pid:
        yield Finding("note", "not-running", "no daemon runs; the first program that needs one starts it")
    elif not is_serving(target):
        what = f"the daemon (process {pid}) does not answer at {socket}"
        yield Finding("fault", "daemon-silent", what, remedy(pid))
    else:
        yield Finding("ok", "daemon", f"process {pid} answers at {socket}")
        yield from _version(target, pid)
        yield from _problems()


def _elsewhere(around: Surroundings) -> Iterator[Finding]:
    given = around.environ[ADDRESS]
    try:
        info = Transport(address_of(None, None)).call(
            lambda link: link.daemon.GetInfo, daemon_pb2.GetInfoRequest()
        )
    except OblixError as error:
        yield Finding(
            "fault", "address-unreachable", f"{ADDRESS} is {given}: {error.message}", f"`unset {ADDRESS}`"
        )
    else:
        yield Finding("note", "elsewhere", f"{ADDRESS} names another daemon: {given}, version {info.version}")


def _version(target: str, pid: int) -> Iterator[Finding]:
    ours, theirs = metadata.version("oblix"), version_at(target)
    if theirs and theirs != ours:
        what = f"the daemon is version {theirs}, and this command is {ours}"
        yield Finding("warning", "other-version", what, "`oblix restart` starts the installed one.")
    python = python_of(pid)
    if python and python != sys.executable:
        what = f"the daemon runs in {python}, and this command in {sys.executable}"
        yield Finding("note", "other-python", what, "`oblix restart` starts it in this one.")


def _problems() -> Iterator[Finding]:
    try:
        info = Transport(UserSocket()).call(lambda link: link.daemon.GetInfo, daemon_pb2.GetInfoRequest())
    except OblixError as error:
        yield Finding("fault", "daemon-silent", error.message)
        return
    for problem in info.problems:
        yield Finding("fault", "daemon-problem", problem)
    if info.addresses:
        yield Finding("ok", "addresses", f"it also listens on {', '.join(info.addresses)}")


def installations(around: Surroundings) -> Iterator[Finding]:
    """Look for other commands `oblix` on the search path."""
    found: dict[Path, str] = {}
    for directory in around.environ.get("PATH", "").split(os.pathsep):
        command = shutil.which("oblix", path=directory) if directory else None
        if command is not None:
            found.setdefault(Path(command).resolve(), command)
    if len(found) > 1:
        what = f"there are {len(found)} commands oblix on the PATH: {', '.join(found.values())}"
        remedy_text = "Uninstall all but one: whichever starts the daemon decides for all."
        yield Finding("warning", "second-installation", what, remedy_text)
    else:
        yield Finding("ok", "installation", f"oblix {metadata.version('oblix')} in {sys.prefix}")


def service(around: Surroundings) -> Iterator[Finding]:
    """Look at whether the service starts this installation."""
    file = units.unit_file(around.environ)
    if not file.is_file():
        yield Finding("ok", "service", "not installed as a service; programs start the daemon")
        return
    lines = file.read_text("utf-8", "replace").splitlines()
    start = next((line.partition("=")[2] for line in lines if line.startswith("ExecStart=")), "")
    python = start.split('"')[1] if start.startswith('"') else start.partition(" ")[0]
    if not os.access(python, os.X_OK):
        what = f"the service starts {python or 'nothing'}, which is not there any more ({file})"
        yield Finding("fault", "service-broken", what, "`oblix service install` writes it anew.")
    elif python != sys.executable:
        what = f"the service starts the installation of {python}, and this one is {sys.executable}"
        yield Finding("warning", "second-installation", what, "`oblix service install` makes it this one.")
    else:
        yield Finding("ok", "service", f"{file} starts this installation")
