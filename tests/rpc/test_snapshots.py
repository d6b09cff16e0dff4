"""What the monitor measured, as a real daemon tells it, and a snapshot that has everything."""

from __future__ import annotations

import time
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from oblix.v1 import monitor_pb2, monitor_pb2_grpc
from support.drivers.daemon import run_daemon

from oblixd.monitor import Connectivity, Gpu, Resources, Snapshot
from oblixd.router.policies import Policies
from oblixd.router.states import assessments
from oblixd.routing import Policy
from oblixd.routing.policy_text import Definition
from oblixd.rpc.monitor import MonitorServicer
from oblixd.rpc.snapshots import to_wire

ORIGIN = "https://api.example.com:443"
FULL = Snapshot(
    time_s=1000.0,
    monotonic_s=5.0,
    resources=Resources(
        cpu_percent=50.0,
        core_percents=(25.0, 75.0),
        is_throttled=False,
        is_limited_by_container=True,
        gpus=(Gpu("A", 0.5, 4 << 30, 1 << 30, 60.0, 0.25),),
    ),
    connectivity=Connectivity(reachable=True, latency_ms=20.0, jitter_ms=2.0, connection_type="wired"),
    own_load_average=1.5,
    endpoints={ORIGIN: Connectivity(reachable=False, age_s=2.5, reason="no way", since_s=990.0)},
)


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[monitor_pb2_grpc.MonitorServiceStub]:
    with run_daemon(tmp_path_factory.mktemp("snapshots")) as daemon:
        yield monitor_pb2_grpc.MonitorServiceStub(daemon.channel)


def test_everything_that_is_known_is_told_and_what_is_not_is_unset() -> None:
    ((_, states),) = assessments([FULL], Policy())
    told = to_wire(FULL, states)
    resources, network = told.resources, told.connectivity
    assert (resources.cpu_percent, list(resources.core_percents)) == (50.0, [25.0, 75.0])
    assert (resources.own_load_average, resources.is_limited_by_container) == (1.5, True)
    assert resources.HasField("is_throttled")
    assert not resources.HasField("memory_percent")
    gpu = resources.gpus[0]
    assert (gpu.name, gpu.utilization, gpu.memory_utilization, gpu.own_utilization) == ("A", 0.5, 0.25, 0.25)
    assert (network.latency, network.jitter, network.connection_type) == (20.0, 2.0, "wired")
    endpoint = network.endpoints[0]
    assert (endpoint.endpoint, endpoint.reason) == (ORIGIN, "no way")
    assert (endpoint.age.ToMilliseconds(), endpoint.since_time.ToSeconds()) == (2500, 1000)
    assert endpoint.state == monitor_pb2.EndpointSample(state="CONNECTIVITY_STATE_DISCONNECTED").state


def test_the_history_is_there_oldest_first(monitor: monitor_pb2_grpc.MonitorServiceStub) -> None:
    for _ in monitor.WatchSnapshots(monitor_pb2.WatchSnapshotsRequest(), timeout=60):
        told = monitor.GetHistory(monitor_pb2.GetHistoryRequest(), timeout=60)
        if len(told.snapshots) > 1:
            break
    times = [snapshot.sample_time.ToMicroseconds() for snapshot in told.snapshots]
    assert times == sorted(times)
    assert abs(times[-1] / 1e6 - time.time()) < 60.0
    assert not told.prompts


@pytest.mark.parametrize("given", [Duration(), Duration(seconds=-1), Duration(seconds=900, nanos=1)])
def test_a_duration_that_is_not_kept_is_refused(
    monitor: monitor_pb2_grpc.MonitorServiceStub, given: Duration
) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        monitor.GetHistory(monitor_pb2.GetHistoryRequest(duration=given), timeout=60)
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = status_pb2.Status.FromString(dict(failed.value.trailing_metadata())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.metadata["field"], info.metadata["limit"]) == (
        "INVALID_DURATION",
        "duration",
        "900",
    )


async def test_where_prompts_went_is_told_the_newest_thousand() -> None:
    prompts = [monitor_pb2.RoutedPrompt(request_id=str(number)) for number in range(1500)]
    asked = []

    class Past:
        def history(self, seconds: float) -> list[Snapshot]:
            asked.append(seconds)
            return [FULL] * 250

    servicer = MonitorServicer(Past(), lambda seconds: prompts)
    told = await servicer.GetHistory(monitor_pb2.GetHistoryRequest(duration=Duration(seconds=60)), None)
    assert [told.prompts[0].request_id, told.prompts[-1].request_id] == ["500", "1499"]
    assert (len(told.snapshots), asked) == (250, [60.0])


async def test_the_states_are_those_under_the_configured_default_policy() -> None:
    class Now:
        def latest(self) -> Snapshot:
            return FULL

        def history(self, seconds: float) -> list[Snapshot]:
            return [FULL]

    policies = Policies([Definition("tight", "balanced", {"cpu_threshold": 0})], default="tight")
    servicer = MonitorServicer(Now(), policies=policies)
    told = await servicer.GetSnapshot(monitor_pb2.GetSnapshotRequest(), None)
    past = await servicer.GetHistory(monitor_pb2.GetHistoryRequest(), None)
    constrained = monitor_pb2.Snapshot(resource_state="RESOURCE_STATE_CONSTRAINED").resource_state
    assert (told.snapshot.resource_state, past.snapshots[0].resource_state) == (constrained, constrained)
    assert (told.default_policy.name, told.default_policy.resources.cpu_threshold) == ("tight", 0.0)
    assert told.default_policy.connectivity.latency_threshold == 200.0
    held = {reading.name: (reading.value, reading.threshold) for reading in told.readings}
    assert (held["cpu_percent"][1], held["latency_ms"]) == (0.0, (20.0, 200.0))
