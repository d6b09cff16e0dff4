"""`oblix status`: the daemon, its models, and this machine as it sees it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

from google.protobuf.message import Message

from oblix._launcher import paths
from oblix.cli import daemon
from oblix.cli.commands.models import listing
from oblix.cli.output import tables
from oblix.v1 import daemon_pb2, models_pb2, monitor_pb2, routing_pb2

SHOWN_PROBLEMS = 5
"""Warnings and errors of the log, the newest ones; `--json` has them all."""
READINGS = {
    "cpu_percent": "CPU {:.0f} %",
    "memory_percent": "memory {:.0f} %",
    "load_average": "load {:.2f}",
    "latency": "latency {:.0f} ms",
    "packet_loss": "loss {:.0f} %",
    "bandwidth": "{:.0f} Mbit/s",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = "Starts no daemon: if none runs, it says so and exits with 1."
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print everything as JSON")
    form.add_argument("--socket", action="store_true", help="print the socket's path, also if no daemon runs")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print what the daemon says of itself."""
    if arguments.socket:
        print(paths.socket_path())
        return
    transport = daemon.running_daemon()
    info = transport.call(lambda link: link.daemon.GetInfo, daemon_pb2.GetInfoRequest())
    listed = transport.call(lambda link: link.models.ListModels, models_pb2.ListModelsRequest())
    snapshot = transport.call(
        lambda link: link.monitor.GetSnapshot, monitor_pb2.GetSnapshotRequest()
    ).snapshot
    if arguments.json:
        from oblix.cli.output.contract_json import to_dict

        tables.show_json({"daemon": to_dict(info), "machine": to_dict(snapshot), **to_dict(listed)})
        return
    for name, value in _lines(info, snapshot):
        print(f"{name:<9} {value}")
    for problem in info.problems:
        print(f"{'problem':<9} {problem}")
    for recent in info.recent_problems[:SHOWN_PROBLEMS]:
        when = tables.local_time(recent.time.ToJsonString())
        print(f"{recent.level:<9} {when} {tables.cell(recent.text)}")
    print()
    listing.show(listed.models)


def _lines(info: daemon_pb2.GetInfoResponse, snapshot: monitor_pb2.Snapshot) -> Iterator[tuple[str, str]]:
    up = tables.duration(time.time() - info.start_time.ToSeconds())
    yield "daemon", f"oblixd {info.version}, process {info.pid}, up {up}"
    yield "socket", info.paths.socket
    if info.addresses:
        yield "also at", ", ".join(info.addresses)
    yield "data", info.paths.data
    yield "config", info.paths.config
    yield "log", info.paths.log or "standard error"
    yield "sessions", f"{info.session_count}"
    yield "running", tables.count_text(info.running_count, "answer")
    yield "clients", f"{info.client_count} in the last hour"
    machine = routing_pb2.ResourceState.Name(snapshot.resource_state)
    yield "machine", _readings(snapshot.resources, tables.word(machine, "RESOURCE_STATE_"))
    network = routing_pb2.ConnectivityState.Name(snapshot.connectivity.state)
    yield "network", _readings(snapshot.connectivity, tables.word(network, "CONNECTIVITY_STATE_"))


def _readings(sample: Message, state: str) -> str:
    """Return a state and the numbers behind it, for example `available: CPU 12 %, memory 40 %`."""
    known = [
        READINGS[field.name].format(value) for field, value in sample.ListFields() if field.name in READINGS
    ]
    return f"{state}: {', '.join(known)}" if known else "not measured yet"
