"""Thresholds out of optional numbers."""

from __future__ import annotations

import math

import pytest

from oblixd.errors import InvalidArgumentError
from oblixd.routing import ConnectivityThresholds, Policy, ResourceThresholds, policy_from


def test_nothing_given_is_the_documented_defaults():
    assert policy_from({}, {}) == Policy(
        ResourceThresholds(80.0, 85.0, 4.0, 85.0, 90.0, 95.0, 95.0),
        ConnectivityThresholds(200.0, 10.0, 5.0),
    )


def test_a_given_threshold_replaces_only_itself():
    policy = policy_from({"cpu_threshold": 0, "load_threshold": 64.5}, {"latency_threshold": 5000})
    assert policy == Policy(
        ResourceThresholds(cpu_threshold=0.0, load_threshold=64.5),
        ConnectivityThresholds(latency_threshold=5000.0),
    )


@pytest.mark.parametrize(
    ("resources", "connectivity", "field", "limit"),
    [
        ({"cpu_threshold": -0.1}, {}, "policy.resources.cpu_threshold", "0 to 100"),
        ({"cpu_threshold": 100.1}, {}, "policy.resources.cpu_threshold", "0 to 100"),
        ({"critical_gpu": math.nan}, {}, "policy.resources.critical_gpu", "0 to 100"),
        ({"load_threshold": math.inf}, {}, "policy.resources.load_threshold", "0 or more"),
        ({"load_threshold": -1}, {}, "policy.resources.load_threshold", "0 or more"),
        ({"memory_threshold": "85"}, {}, "policy.resources.memory_threshold", "0 to 100"),
        ({"memory_threshold": True}, {}, "policy.resources.memory_threshold", "0 to 100"),
        ({"cpu": 80}, {}, "policy.resources.cpu", "cpu_threshold"),
        ({}, {"packet_loss_threshold": 101}, "policy.connectivity.packet_loss_threshold", "0 to 100"),
        ({}, {"bandwidth_threshold": -math.inf}, "policy.connectivity.bandwidth_threshold", "0 or more"),
        ({}, {"latency_threshold": 10**400}, "policy.connectivity.latency_threshold", "0 or more"),
    ],
)
def test_a_malformed_threshold_is_refused_with_field_and_range(resources, connectivity, field, limit):
    with pytest.raises(InvalidArgumentError) as caught:
        policy_from(resources, connectivity)
    assert caught.value.reason == "INVALID_THRESHOLD"
    assert caught.value.metadata["field"] == field
    assert limit in caught.value.metadata["limit"]
    assert field in caught.value.message
