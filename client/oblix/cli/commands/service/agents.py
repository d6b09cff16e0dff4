"""`oblix agents`: what decides where a prompt goes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from oblix._convert.metrics import connectivity_of, resources_of
from oblix.agents import ConnectivityAgent, ResourceMonitor
from oblix.cli import daemon
from oblix.cli.output import tables
from oblix.v1 import monitor_pb2

COLUMNS = {
    "agent": "AGENT",
    "threshold": "THRESHOLD",
    "value": "VALUE",
    "held": "AGAINST IT",
    "measured": "MEASURED",
}
READINGS = {
    "cpu_threshold": "cpu_percent",
    "critical_cpu": "cpu_percent",
    "memory_threshold": "memory_percent",
    "critical_memory": "memory_percent",
    "load_threshold": "load_average",
    "gpu_threshold": "gpu_percent",
    "critical_gpu": "gpu_percent",
    "latency_threshold": "latency_ms",
    "packet_loss_threshold": "packet_loss_percent",
    "bandwidth_threshold": "bandwidth_mbps",
}
"""The number that is held against each threshold."""
NETWORK = {"latency_ms": "latency", "packet_loss_percent": "packet_loss", "bandwidth_mbps": "bandwidth"}
"""The metrics that have another name than the numbers that come from them."""
EPILOG = """The thresholds are those of the configuration's default policy. The daemon compares them with
values that are smoothed over some seconds, without the load of its own models; the measured values stand
beside them."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the policy, each agent's state, its thresholds, and what is held against them."""
    answer = daemon.any_daemon().call(
        lambda link: link.monitor.GetSnapshot, monitor_pb2.GetSnapshotRequest(), repeatable=True
    )
    agents = _agents(answer)
    if arguments.json:
        tables.show_json(agents)
        return
    print(f"policy: {answer.default_policy.name}")
    for name, agent in agents.items():
        since = f" since {tables.local_time(agent['since'])}" if agent["since"] else ""
        print("\n".join(tables.wrap_words(f"{name}: {agent['state']}{since}")))
    print()
    tables.show_rows([row for name, agent in agents.items() for row in _rows(name, agent)], COLUMNS)


def _rows(name: str, agent: Mapping[str, Any]) -> list[dict[str, object]]:
    return [
        {
            "agent": name,
            "threshold": threshold,
            "value": f"{value:g}",
            "held": _number(agent["held"][threshold]),
            "measured": _number(agent["measured"][threshold]),
        }
        for threshold, value in agent["thresholds"].items()
    ]


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"


def _agents(answer: monitor_pb2.GetSnapshotResponse) -> dict[str, dict[str, Any]]:
    """Return the built-in agents by name: state, since when, thresholds, and the measured values."""
    held = {reading.name: reading.value for reading in answer.readings}
    policy, now = answer.default_policy, answer.snapshot
    return {
        ResourceMonitor().name: _agent(policy.resources, held, resources_of(now)),
        ConnectivityAgent().name: _agent(policy.connectivity, held, connectivity_of(now)),
    }


def _agent(policy: Message, values: Mapping[str, float], metrics: Mapping[str, Any]) -> dict[str, Any]:
    thresholds = {field.name: value for field, value in policy.ListFields()}
    return {
        "state": metrics["state"],
        "since": metrics["since"],
        "thresholds": thresholds,
        "held": {name: values.get(READINGS[name]) for name in thresholds},
        "measured": {name: _metric(READINGS[name], metrics) for name in thresholds},
    }


def _metric(name: str, metrics: Mapping[str, Any]) -> float | None:
    if name == "gpu_percent":  # its use is a share of 1
        used = metrics["gpu"]["utilization"]
        return None if used is None else 100.0 * used
    value: float | None = metrics[NETWORK.get(name, name)]
    return value
