"""Calls to the daemon that the Python surface has no name for."""

from __future__ import annotations

import sys

from oblix._launcher.address import Address, UserSocket, address_of
from oblix._launcher.process import holder_at, remedy, version_at
from oblix._transport.channel import Transport
from oblix.cli.errors import CommandError
from oblix.errors import OblixError


class _Running(UserSocket):
    """This user's daemon, where it runs already."""

    def ensure_daemon(self) -> None:
        if pid := holder_at(self.target()):
            raise CommandError(f"oblixd (process {pid}) runs and does not answer. {remedy(pid)}")
        raise CommandError("no daemon runs; `oblix ask` or any other use starts one.")


def running_daemon() -> Transport:
    """Return a way to the daemon that starts none: without one, calls raise CommandError."""
    address = _address()
    return Transport(_Running() if type(address) is UserSocket else address)


def is_running() -> bool:
    """Return whether a daemon of this user runs, or OBLIX_ADDRESS names another one."""
    address = _address()
    return type(address) is not UserSocket or bool(holder_at(address.target()))


def _address() -> Address:
    return address_of(None, None)


def note_other_version(version: str) -> None:
    """Tell on standard error that the running daemon is of another version than this command."""
    try:
        running_one = version_at(UserSocket().target())
    except OblixError:
        return
    if running_one and running_one != version:
        print(
            f"oblix: this is version {version}, and the daemon that runs is {running_one}: "
            "`oblix restart` starts the installed one.",
            file=sys.stderr,
        )


def any_daemon() -> Transport:
    """Return a way to the daemon that starts one where none runs."""
    return Transport(_address())


def reload(*, as_json: bool = False) -> None:
    """Have the daemon read its configuration, and print what became of it."""
    from oblix.v1 import daemon_pb2

    transport = running_daemon()
    done = transport.call(lambda link: link.daemon.ReloadConfig, daemon_pb2.ReloadConfigRequest())
    if as_json:
        from oblix.cli.output import contract_json, tables

        tables.show_json(contract_json.to_dict(done))
        return
    for notice in done.notices:
        print(f"Old form: {notice}")
    if done.applied:
        print(f"The daemon applied {', '.join(done.applied)}.")
    if done.needs_restart:
        print(f"Run `oblix restart` to apply {', '.join(done.needs_restart)}.")
    if not (done.applied or done.needs_restart):
        print("Nothing has changed for the daemon that runs.")
