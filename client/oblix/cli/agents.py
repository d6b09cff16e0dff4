"""`oblix agents`: what decides where a prompt goes."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from typing import Any

from oblix import OblixClient
from oblix.agents import ConnectivityAgent, ResourceMonitor
from oblix.cli import output

COLUMNS = {"agent": "AGENT", "threshold": "THRESHOLD", "value": "DEFAULT", "measured": "NOW"}
MEASURED = {
    "cpu_threshold": "cpu_percent",
    "critical_cpu": "cpu_percent",
    "memory_threshold": "memory_percent",
    "critical_memory": "memory_percent",
    "load_threshold": "load_average",
    "latency_threshold": "latency",
    "packet_loss_threshold": "packet_loss",
    "bandwidth_threshold": "bandwidth",
}
"""The metric that each threshold is held against. Those of a GPU are apart: its use is a share of 1."""
OWN = {"cpu_percent": "own_cpu_percent", "load_average": "own_load_average"}
"""What of a metric is our own models', which is not held against them."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = "CPU, GPU and load are those of the rest of the machine, without our own models."
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print each agent's state, its thresholds, and what is held against them."""
    agents = asyncio.run(_agents())
    if arguments.json:
        output.show_json(agents)
        return
    for name, agent in agents.items():
        since = f" since {output.local_time(agent['since'])}" if agent["since"] else ""
        print(f"{name}: {agent['state']}{since}")
    print()
    output.show_rows([row for name, agent in agents.items() for row in _rows(name, agent)], COLUMNS)


def _rows(name: str, agent: Mapping[str, Any]) -> list[dict[str, object]]:
    measured = agent["measured"]
    return [
        {
            "agent": name,
            "threshold": threshold,
            "value": f"{value:g}",
            "measured": "unknown" if measured[threshold] is None else f"{measured[threshold]:.1f}",
        }
        for threshold, value in agent["thresholds"].items()
    ]


async def _agents() -> dict[str, dict[str, Any]]:
    """The built-in agents by name: state, since when, thresholds, and what each is held against."""
    resources, network = ResourceMonitor(), ConnectivityAgent()
    names = ("latency_threshold", "packet_loss_threshold", "bandwidth_threshold")
    async with OblixClient() as client:
        machine, way = await client.get_resource_metrics(), await client.get_connectivity_metrics()
    return {
        resources.name: _agent(dict(resources.thresholds), machine),
        network.name: _agent({name: getattr(network, name) for name in names}, way),
    }


def _agent(thresholds: dict[str, float], metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "state": metrics["state"],
        "since": metrics["since"],
        "thresholds": thresholds,
        "measured": {name: _measured(name, metrics) for name in thresholds},
    }


def _measured(threshold: str, metrics: Mapping[str, Any]) -> float | None:
    if threshold not in MEASURED:
        used = metrics["gpu"]["utilization"]
        return None if used is None else 100.0 * used
    name = MEASURED[threshold]
    value: float | None = metrics[name]
    own: float | None = metrics[OWN[name]] if name in OWN else None
    return value if value is None or own is None else max(0.0, value - own)
