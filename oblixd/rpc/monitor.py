"""MonitorService."""

from __future__ import annotations

from collections.abc import AsyncIterator

from oblix.v1 import monitor_pb2 as pb
from oblix.v1 import monitor_pb2_grpc

from oblixd.execution.route import assessed
from oblixd.monitor import Monitor, Resources, Snapshot
from oblixd.rpc.edge import Context


class MonitorServicer(monitor_pb2_grpc.MonitorServiceServicer):
    """Translates; the monitor room measures."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    async def GetSnapshot(self, request: pb.GetSnapshotRequest, context: Context) -> pb.GetSnapshotResponse:
        return pb.GetSnapshotResponse(snapshot=_snapshot(self._monitor.latest()))

    async def WatchSnapshots(
        self, request: pb.WatchSnapshotsRequest, context: Context
    ) -> AsyncIterator[pb.WatchSnapshotsResponse]:
        async for snapshot in self._monitor.watch():
            yield pb.WatchSnapshotsResponse(snapshot=_snapshot(snapshot))


def _snapshot(snapshot: Snapshot) -> pb.Snapshot:
    network = snapshot.connectivity
    resource_state, connectivity_state = assessed(snapshot)
    result = pb.Snapshot(
        resources=_resources(snapshot.resources),
        connectivity=pb.ConnectivitySample(
            state=connectivity_state,
            latency=network.latency_ms,
            packet_loss=network.packet_loss_percent,
            bandwidth=network.bandwidth_mbps,
        ),
        resource_state=resource_state,
    )
    if snapshot.time_s is not None:
        result.sample_time.FromMicroseconds(round(snapshot.time_s * 1e6))
    return result


def _resources(resources: Resources) -> pb.ResourceSample:
    return pb.ResourceSample(
        cpu_percent=resources.cpu_percent,
        memory_percent=resources.memory_percent,
        memory_available_bytes=resources.memory_available_bytes,
        load_average=resources.load_average,
        cpu_count=resources.cpu_count,
        own_cpu_percent=resources.own_cpu_percent,
    )
