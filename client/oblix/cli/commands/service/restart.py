"""`oblix restart`: ends the daemon, and starts the version that is installed."""

from __future__ import annotations

import argparse

from oblix.cli import daemon
from oblix.cli.commands.service.stop import add_grace, end
from oblix.v1 import daemon_pb2


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = (
        "Run it after an upgrade. Running answers finish within the grace time, or are kept as interrupted. "
        "Programs that hooked models use the new daemon automatically."
    )
    add_grace(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """End the daemon where one runs, start one, and say which."""
    if daemon.is_running():
        former = end(daemon.running_daemon(), arguments.grace)
        print(f"oblixd {former.version} (process {former.pid}) has ended.")
    transport = daemon.any_daemon()
    info = transport.call(lambda link: link.daemon.GetInfo, daemon_pb2.GetInfoRequest(), repeatable=True)
    print(f"oblixd {info.version} (process {info.pid}) serves.")
