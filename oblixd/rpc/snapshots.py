"""A snapshot in the contract's words."""

from __future__ import annotations

from oblix.v1 import monitor_pb2 as pb

from oblixd.execution.route import assessed
from oblixd.monitor import Connectivity, Gpu, Resources, Snapshot


def to_wire(snapshot: Snapshot) -> pb.Snapshot:
    """All of it, with the states under the default thresholds."""
    resource_state, connectivity_state = assessed(snapshot)
    result = pb.Snapshot(
        resources=_resources(snapshot.resources, snapshot.own_load_average),
        connectivity=_connectivity(snapshot.connectivity),
        resource_state=resource_state,
    )
    result.connectivity.state = connectivity_state
    result.connectivity.endpoints.extend(
        _endpoint(snapshot, origin, way) for origin, way in snapshot.endpoints.items()
    )
    if snapshot.time_s is not None:
        result.sample_time.FromMicroseconds(round(snapshot.time_s * 1e6))
    return result


def _resources(resources: Resources, own_load_average: float | None) -> pb.ResourceSample:
    return pb.ResourceSample(
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


def _gpu(gpu: Gpu) -> pb.GpuSample:
    return pb.GpuSample(
        name=gpu.name,
        utilization=gpu.utilization,
        memory_utilization=gpu.memory_utilization,
        memory_total_bytes=gpu.memory_total_bytes,
        memory_used_bytes=gpu.memory_used_bytes,
        temperature_celsius=gpu.temperature_celsius,
        own_utilization=gpu.own_utilization,
    )


def _connectivity(way: Connectivity) -> pb.ConnectivitySample:
    result = pb.ConnectivitySample(
        latency=way.latency_ms,
        packet_loss=way.packet_loss_percent,
        bandwidth=way.bandwidth_mbps,
        jitter=way.jitter_ms,
        connection_type=way.connection_type,
    )
    _set_since(result, way)
    return result


def _endpoint(snapshot: Snapshot, origin: str, way: Connectivity) -> pb.EndpointSample:
    alone = Snapshot(snapshot.time_s, snapshot.monotonic_s, Resources(), way)
    result = pb.EndpointSample(
        endpoint=origin,
        state=assessed(alone)[1],
        latency=way.latency_ms,
        jitter=way.jitter_ms,
        packet_loss=way.packet_loss_percent,
        bandwidth=way.bandwidth_mbps,
        reason=way.reason,
    )
    if way.age_s is not None:
        result.age.FromMicroseconds(round(way.age_s * 1e6))
    _set_since(result, way)
    return result


def _set_since(sample: pb.ConnectivitySample | pb.EndpointSample, way: Connectivity) -> None:
    if way.since_s is not None:
        sample.since_time.FromMicroseconds(round(way.since_s * 1e6))
