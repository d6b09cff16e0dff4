"""`oblix stop`: ends the daemon as a service manager would."""

from __future__ import annotations

import argparse
import os
import select
import sys

from oblix._transport.channel import Transport
from oblix.cli import daemon
from oblix.cli.errors import CommandError
from oblix.cli.output import tables
from oblix.v1 import daemon_pb2

MARGIN_S = 30.0
"""What a daemon may need beside the grace: models to unload, a database to close."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = "The next program that needs a daemon starts one."
    add_grace(parser)
    parser.set_defaults(run=run)


def add_grace(parser: argparse.ArgumentParser) -> None:
    """Declare how long running answers may take."""
    parser.add_argument(
        "--grace",
        type=float,
        metavar="SECONDS",
        help="how long running answers may take (default: as configured)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Tell the daemon to end, and wait until it has."""
    info = end(daemon.running_daemon(), arguments.grace)
    print(f"oblixd (process {info.pid}) has ended.")


def end(transport: Transport, grace: float | None) -> daemon_pb2.GetInfoResponse:
    """End the daemon, and give what it said of itself once it is gone. Raises CommandError."""
    info = transport.call(lambda link: link.daemon.GetInfo, daemon_pb2.GetInfoRequest())
    process = os.pidfd_open(info.pid)
    request = daemon_pb2.ShutdownRequest()
    if grace is not None:
        request.grace.FromMicroseconds(round(grace * 1e6))
    transport.call(lambda link: link.daemon.Shutdown, request)
    if info.running_count:
        _tell_wait(info.running_count, grace)
    if not _has_ended(process, timeout_s=(grace or 0) + MARGIN_S):
        raise CommandError(
            f"oblixd (process {info.pid}) has not ended yet; {info.paths.log} says what it does."
        )
    return info


def _tell_wait(count: int, grace: float | None) -> None:
    most = "daemon.grace_s (10 s unless configured)" if grace is None else f"{grace:g} s"
    print(
        f"oblix: waiting for {tables.count_text(count, 'running answer')}, at most {most}.",
        file=sys.stderr,
        flush=True,
    )


def _has_ended(process: int, timeout_s: float) -> bool:
    """Return whether the process of a pidfd ends in time, also if its parent never reaps it."""
    waiter = select.poll()
    waiter.register(process, select.POLLIN)
    return bool(waiter.poll(timeout_s * 1000))
