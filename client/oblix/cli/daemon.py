"""Calls to the daemon that the Python surface has no name for."""

from __future__ import annotations

from oblix._launcher.address import UserSocket
from oblix._launcher.process import holder_at, remedy
from oblix._transport.channel import Transport
from oblix.cli.errors import CommandError


class _Running(UserSocket):
    """This user's daemon, where it runs already."""

    def ensure_daemon(self) -> None:
        if pid := holder_at(self.target()):
            raise CommandError(f"oblixd (process {pid}) runs and does not answer. {remedy(pid)}")
        raise CommandError("no daemon runs; `oblix ask` or any other use starts one.")


def running() -> Transport:
    """A way to the daemon that starts none: without one, calls raise CommandError."""
    return Transport(_Running())


def any_daemon() -> Transport:
    """A way to the daemon that starts one where none runs."""
    return Transport(UserSocket())
