"""A snapshot in the contract's words."""

from __future__ import annotations

from dataclasses import asdict

from google.protobuf.timestamp_pb2 import Timestamp
from oblix.v1 import monitor_pb2, routing_pb2

from oblixd.monitor import Connectivity, Gpu, Resources, Snapshot
from oblixd.router import CONNECTIVITY, RESOURCES, Assessment, reading_to_wire
from oblixd.routing import NetworkState, Policy


def to_wire(snapshot: Snapshot, states: Assessment) -> monitor_pb2.Snapshot:
    """Convert a snapshot, with the states at its moment."""
    moment_s = _moment_s(snapshot, states)
    result = monitor_pb2.Snapshot(
        resources=_resources(snapshot.resources, snapshot.own_load_average),
        connectivity=_connectivity(snapshot.connectivity, states.network, moment_s),
        resource_state=RESOURCES[states.machine.state],
    )
    result.connectivity.endpoints.extend(
        _endpoint(origin, way, states.endpoints.get(origin, NetworkState()), moment_s)
        for origin, way in snapshot.endpoints.items()
    )
    _set_since(result.resource_since_time, moment_s, states.machine.for_s)
    if snapshot.time_s is not None:
        result.sample_time.FromMicroseconds(round(snapshot.time_s * 1e6))
    return result


def policy_to_wire(policy: Policy) -> routing_pb2.RoutingPolicy:
    """Return a policy with all of its thresholds."""
    return routing_pb2.RoutingPolicy(
        name=policy.name,
        resources=routing_pb2.ResourcePolicy(**asdict(policy.resources)),
        connectivity=routing_pb2.ConnectivityPolicy(**asdict(policy.connectivity)),
        max_cost=policy.max_cost,
    )


def readings_to_wire(states: Assessment) -> list[routing_pb2.Reading]:
    """Return what was held against the thresholds, of the machine and of the network as a whole."""
    return [reading_to_wire(reading) for reading in (*states.machine.readings, *states.network.readings)]


def _resources(resources: Resources, own_load_average: float | None) -> monitor_pb2.ResourceSample:
    return monitor_pb2.ResourceSample(
        cpu_percent=resources.cpu_percent,
        memory_percent=resources.memory_percent,
        memory_available_bytes=resources.memory_available_bytes,
        load_average=resources.load_average,
        cpu_count=resources.cpu_count,
        own_cpu_percent=resources.own_cpu_percent,
        core_percents=resources.core_percents,
        memory_total_bytes=resources.memory_total_bytes,
        own_memory_bytes=resources.own_memory_bytes,
        swap_in_bytes_per_second=resources.swap_in_bytes_per_s,
        swap_out_bytes_per_second=resources.swap_out_bytes_per_s,
        cpu_pressure_percent=resources.cpu_pressure_percent,
        memory_pressure_percent=resources.memory_pressure_percent,
        io_pressure_percent=resources.io_pressure_percent,
        disk_free_bytes=resources.disk_free_bytes,
        disk_total_bytes=resources.disk_total_bytes,
        is_throttled=resources.is_throttled,
        battery_percent=resources.battery_percent,
        is_plugged_in=resources.is_plugged_in,
        gpus=[_gpu(gpu) for gpu in resources.gpus],
        own_load_average=own_load_average,
        is_limited_by_container=resources.is_limited_by_container,
    )


def _gpu(gpu: Gpu) -> monitor_pb2.GpuSample:
    return monitor_pb2.GpuSample(
        name=gpu.name,
        utilization=gpu.utilization,
        memory_utilization=gpu.memory_utilization,
        memory_total_bytes=gpu.memory_total_bytes,
        memory_used_bytes=gpu.memory_used_bytes,
        temperature_celsius=gpu.temperature_celsius,
        own_utilization=gpu.own_utilization,
    )


def _connectivity(
    connectivity: Connectivity, state: NetworkState, moment_s: float | None
) -> monitor_pb2.ConnectivitySample:
    result = monitor_pb2.ConnectivitySample(
        state=CONNECTIVITY[state.state],
        latency=connectivity.latency_ms,
        packet_loss=connectivity.packet_loss_percent,
        bandwidth=connectivity.bandwidth_mbps,
        jitter=connectivity.jitter_ms,
        connection_type=connectivity.connection_type,
    )
    _set_since(result.since_time, moment_s, state.for_s)
    return result


def _endpoint(
    origin: str, connectivity: Connectivity, state: NetworkState, moment_s: float | None
) -> monitor_pb2.EndpointSample:
    result = monitor_pb2.EndpointSample(
        endpoint=origin,
        state=CONNECTIVITY[state.state],
        latency=connectivity.latency_ms,
        jitter=connectivity.jitter_ms,
        packet_loss=connectivity.packet_loss_percent,
        bandwidth=connectivity.bandwidth_mbps,
        reason=connectivity.reason,
    )
    if connectivity.age_s is not None:
        result.age.FromMicroseconds(round(connectivity.age_s * 1e6))
    _set_since(result.since_time, moment_s, state.for_s)
    return result


def _set_since(field: Timestamp, moment_s: float | None, for_s: float | None) -> None:
    """Set when a state began that has lasted `for_s` at a moment; nothing where that is not known."""
    if moment_s is not None and for_s is not None:
        field.FromMicroseconds(round((moment_s - for_s) * 1e6))


def _moment_s(snapshot: Snapshot, states: Assessment) -> float | None:
    """Return when the states were looked at, seconds since the epoch."""
    return None if snapshot.time_s is None else snapshot.time_s + states.at_s - snapshot.monotonic_s
