"""The daemon's measurements as a program gets them."""

from __future__ import annotations

import json

from oblix._convert import metrics
from oblix.v1 import monitor_pb2, routing_pb2


def snapshot() -> monitor_pb2.Snapshot:
    found = monitor_pb2.Snapshot(resource_state=routing_pb2.RESOURCE_STATE_CONSTRAINED)
    found.resources.cpu_percent = 91.5
    found.resources.core_percents.extend([83.0, 100.0])
    found.resources.gpus.add(name="Small", utilization=0.9, memory_total_bytes=1 << 30)
    found.resources.gpus.add(
        name="Large", utilization=0.25, memory_utilization=0.5, memory_total_bytes=8 << 30
    )
    found.resource_since_time.FromSeconds(1)
    network = found.connectivity
    network.latency, network.connection_type = 12.5, "wireless"
    network.since_time.FromSeconds(2)
    endpoint = network.endpoints.add(endpoint="https://api.example.com:443", reason="nothing listens there")
    endpoint.age.FromMilliseconds(1500)
    return found


def test_the_documented_keys_are_there() -> None:
    resources = metrics.resources_of(snapshot())
    assert resources["cpu_percent"] == 91.5
    assert resources["memory_percent"] is None
    assert resources["load_average"] is None
    assert resources["core_percents"] == [83.0, 100.0]
    assert (resources["state"], resources["since"]) == ("constrained", "1970-01-01T00:00:01.000000Z")
    network = metrics.connectivity_of(snapshot())
    assert (network["latency"], network["connection_type"]) == (12.5, "wireless")
    assert (network["packet_loss"], network["bandwidth"]) == (None, None)
    assert network["endpoints"][0]["reason"] == "nothing listens there"
    assert network["endpoints"][0]["age"] == 1.5


def test_gpu_is_the_one_with_the_most_memory() -> None:
    gpu = metrics.resources_of(snapshot())["gpu"]
    assert gpu == {"available": True, "name": "Large", "utilization": 0.25, "memory_utilization": 0.5}


def test_without_a_gpu_none_is_available() -> None:
    gpu = metrics.resources_of(monitor_pb2.Snapshot())["gpu"]
    assert gpu == {"available": False, "name": None, "utilization": None, "memory_utilization": None}


def test_nothing_in_it_is_a_number_that_json_has_no_word_for() -> None:
    odd = snapshot()
    odd.resources.load_average = float("inf")
    odd.resources.gpus[0].temperature_celsius = float("nan")
    odd.connectivity.endpoints[0].latency = float("-inf")
    resources, network = metrics.resources_of(odd), metrics.connectivity_of(odd)
    json.dumps([resources, network], allow_nan=False)
    assert resources["load_average"] is None
    assert resources["gpus"][0]["temperature_celsius"] is None
    assert network["endpoints"][0]["latency"] is None


def test_before_the_first_sample_all_is_unknown() -> None:
    nothing = metrics.resources_of(monitor_pb2.Snapshot())
    assert (nothing["state"], nothing["cpu_percent"], nothing["sampled_at"]) == ("unknown", None, None)
    assert metrics.connectivity_of(monitor_pb2.Snapshot())["connection_type"] is None
