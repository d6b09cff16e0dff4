"""Agents by themselves."""

from __future__ import annotations

import math

import pytest
from oblix import InvalidArgumentError
from oblix.agents import BaseAgent, ConnectivityAgent, ResourceMonitor
from oblix.agents.base import BaseAgent as DocumentedBase
from oblix.agents.thresholds import ConnectivityAgent as DocumentedConnectivity
from oblix.agents.thresholds import ResourceMonitor as DocumentedMonitor


def test_the_older_places_lead_to_the_same_classes() -> None:
    assert (DocumentedBase, DocumentedConnectivity, DocumentedMonitor) == (
        BaseAgent,
        ConnectivityAgent,
        ResourceMonitor,
    )


def test_a_resource_monitor_has_the_documented_defaults() -> None:
    monitor = ResourceMonitor()
    assert monitor.name == "resource_monitor"
    assert monitor.thresholds == {
        "cpu_threshold": 80.0,
        "memory_threshold": 85.0,
        "load_threshold": 4.0,
        "gpu_threshold": 85.0,
        "critical_cpu": 90.0,
        "critical_memory": 95.0,
        "critical_gpu": 95.0,
    }


def test_custom_thresholds_replace_some() -> None:
    monitor = ResourceMonitor("mine", custom_thresholds={"cpu_threshold": 70, "load_threshold": 200})
    assert monitor.thresholds["cpu_threshold"] == 70.0
    assert monitor.thresholds["load_threshold"] == 200.0
    assert monitor.thresholds["memory_threshold"] == 85.0


def test_a_connectivity_agent_has_the_documented_defaults() -> None:
    agent = ConnectivityAgent()
    assert agent.name == "connectivity_monitor"
    found = (
        agent.latency_threshold,
        agent.packet_loss_threshold,
        agent.bandwidth_threshold,
        agent.check_interval,
    )
    assert found == (200.0, 10.0, 5.0, 30.0)


@pytest.mark.parametrize(
    ("thresholds", "field"),
    [
        ([1], "custom_thresholds"),
        ({"cpu": 70}, "custom_thresholds"),
        ({"cpu_threshold": "70"}, "custom_thresholds.cpu_threshold"),
        ({"cpu_threshold": True}, "custom_thresholds.cpu_threshold"),
        ({"cpu_threshold": 101}, "custom_thresholds.cpu_threshold"),
        ({"load_threshold": -1}, "custom_thresholds.load_threshold"),
        ({"critical_gpu": math.nan}, "custom_thresholds.critical_gpu"),
    ],
)
def test_a_wrong_threshold_is_refused_by_name(thresholds: object, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        ResourceMonitor(custom_thresholds=thresholds)
    assert caught.value.metadata["field"] == field


@pytest.mark.parametrize("name", ["", "x" * 129, 17])
def test_an_agent_needs_a_name(name: object) -> None:
    with pytest.raises(InvalidArgumentError):
        BaseAgent(name)


DECISION = {
    "resource_routing": {
        "state": "constrained",
        "target": "cloud",
        "reason": "busy",
        "metrics": {"cpu_percent": 85},
    },
    "connectivity_routing": {"state": "optimal", "target": "cloud", "reason": "fine", "metrics": {}},
}


async def test_policies_say_what_their_thresholds_made_of_the_measurements() -> None:
    assert await ResourceMonitor().check(routing_decision=DECISION) == {
        "proceed": True,
        "state": "constrained",
        "target": "cloud",
        "reason": "busy",
        "metrics": {"cpu_percent": 85},
    }
    assert (await ConnectivityAgent().check(routing_decision=DECISION))["state"] == "optimal"


async def test_without_measurements_the_state_is_unknown() -> None:
    assert (await ResourceMonitor().check(prompt="Hi"))["state"] == "unknown"
    assert (await ResourceMonitor().check(prompt="Hi"))["proceed"] is True
