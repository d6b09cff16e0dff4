"""`oblix agents`: the thresholds that decide where a prompt goes."""

from __future__ import annotations

import argparse

from oblix.agents import ConnectivityAgent, ResourceMonitor
from oblix.cli import output

COLUMNS = {"agent": "AGENT", "threshold": "THRESHOLD", "value": "DEFAULT"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = "The state of this machine under these thresholds is in `oblix status`."
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print each agent's thresholds."""
    agents = _agents()
    if arguments.json:
        output.show_json(agents)
        return
    rows = [
        {"agent": agent, "threshold": name, "value": f"{value:g}"}
        for agent, thresholds in agents.items()
        for name, value in thresholds.items()
    ]
    output.show_rows(rows, COLUMNS)


def _agents() -> dict[str, dict[str, float]]:
    """The thresholds of the built-in agents, by the agents' names."""
    resources, network = ResourceMonitor(), ConnectivityAgent()
    names = ("latency_threshold", "packet_loss_threshold", "bandwidth_threshold")
    return {
        resources.name: dict(resources.thresholds),
        network.name: {name: getattr(network, name) for name in names},
    }
