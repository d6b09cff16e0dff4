"""`oblix metrics`: the daemon's numbers, as Prometheus reads them."""

from __future__ import annotations

import argparse

from oblix.cli import daemon
from oblix.v1 import daemon_pb2


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = (
        "Starts no daemon. The HTTP endpoint shows the same at /metrics, to a token with the scope read."
    )
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> None:
    """Print all of them."""
    answer = daemon.running_daemon().call(lambda link: link.daemon.GetMetrics, daemon_pb2.GetMetricsRequest())
    print(answer.text, end="")
