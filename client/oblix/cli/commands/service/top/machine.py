"""The machine and its network, in a few lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from oblix.cli.output import tables
from oblix.v1 import monitor_pb2, routing_pb2

LABEL, BAR = 8, 24
GIB = 1 << 30
WORTH_TELLING = 0.5
"""Percent. Less would be shown as 0."""
MOST_ENDPOINTS, MOST_GPUS = 3, 4
_STYLES = {
    "available": "green",
    "optimal": "green",
    "constrained": "yellow",
    "degraded": "yellow",
    "critical": "bold red",
    "disconnected": "bold red",
}


def lines(snapshot: monitor_pb2.Snapshot, width: int) -> list[Text]:
    """CPU, memory, the rest of the machine, the graphics processors and the network."""
    resources, room = snapshot.resources, max(8, min(BAR, width // 3))
    return [
        _label("machine", _state(_machine_state(snapshot)), *_facts(resources)),
        _cpu(resources, room),
        _memory(resources, room),
        *(_gpu(gpu, room) for gpu in resources.gpus[:MOST_GPUS]),
        *_network(snapshot.connectivity),
    ]


def bar(share: float, own: float, width: int) -> str:
    """Return a share of 1 as a bar; what is ours of it as `=`, the rest as `|`."""
    filled = round(min(1.0, max(0.0, share)) * width)
    ours = min(filled, round(min(1.0, max(0.0, own)) * width))
    return f"[{'=' * ours}{'|' * (filled - ours)}{' ' * (width - filled)}]"


def _label(label: str, *parts: Text | str) -> Text:
    line = Text(f"{label:<{LABEL}} ", no_wrap=True)
    for number, part in enumerate(parts):
        line.append("  " if number else "").append(part)
    return line


def _cpu(resources: monitor_pb2.ResourceSample, width: int) -> Text:
    if not resources.HasField("cpu_percent"):
        return _label("CPU", "not known")
    own = resources.own_cpu_percent
    parts = [f"{bar(resources.cpu_percent / 100, own / 100, width)} {resources.cpu_percent:3.0f} %"]
    if own >= WORTH_TELLING:
        parts.append(f"ours (=) {own:.0f} %")
    if resources.HasField("load_average"):
        parts.append(f"load {resources.load_average:.2f}")
    parts.append(f"{resources.cpu_count} cores")
    return _label("CPU", *parts)


def _memory(resources: monitor_pb2.ResourceSample, width: int) -> Text:
    if not resources.HasField("memory_percent"):
        return _label("memory", "not known")
    total = resources.memory_total_bytes
    own = resources.own_memory_bytes / total if total else 0.0
    drawn = bar(resources.memory_percent / 100, own, width)
    parts = [f"{drawn} {resources.memory_percent:3.0f} %"]
    parts.append(f"{resources.memory_available_bytes / GIB:.1f} of {total / GIB:.1f} GiB free")
    swapping = resources.swap_in_bytes_per_second + resources.swap_out_bytes_per_second
    if swapping > 0.0:
        parts.append(f"swapping {swapping / 1e6:.1f} MB/s")
    return _label("memory", *parts)


def _facts(resources: monitor_pb2.ResourceSample) -> Iterator[str]:
    """Yield what is told only where it says something."""
    if resources.is_limited_by_container:
        yield "in a container"
    waits = {
        "CPU": resources.cpu_pressure_percent,
        "memory": resources.memory_pressure_percent,
        "disk": resources.io_pressure_percent,
    }
    if told := ", ".join(
        f"{name} {percent:.0f} %" for name, percent in waits.items() if percent >= WORTH_TELLING
    ):
        yield f"waiting for {told}"
    if resources.HasField("disk_free_bytes"):
        yield f"disk {resources.disk_free_bytes / GIB:.0f} GiB free"
    if resources.HasField("battery_percent"):
        mains = "" if resources.is_plugged_in or not resources.HasField("is_plugged_in") else ", on battery"
        yield f"battery {resources.battery_percent:.0f} %{mains}"
    if resources.is_throttled:
        yield "slowed down by heat"


def _gpu(gpu: monitor_pb2.GpuSample, width: int) -> Text:
    parts = ["not known"]
    if gpu.HasField("utilization"):
        drawn = bar(gpu.utilization, gpu.own_utilization, width)
        parts = [f"{drawn} {100 * gpu.utilization:3.0f} %"]
    if gpu.HasField("memory_utilization"):
        used, total = gpu.memory_used_bytes / GIB, gpu.memory_total_bytes / GIB
        parts.append(f"{used:.1f} of {total:.1f} GiB")
    if gpu.HasField("temperature_celsius"):
        parts.append(f"{gpu.temperature_celsius:.0f} °C")
    return _label("GPU", *parts, tables.cell(gpu.name))


def _network(sample: monitor_pb2.ConnectivitySample) -> Iterator[Text]:
    state = tables.word(routing_pb2.ConnectivityState.Name(sample.state), "CONNECTIVITY_STATE_")
    kind = (sample.connection_type,) if sample.connection_type else ()
    yield _label("network", _state(state), *kind, *_readings(sample))
    for endpoint in sample.endpoints[:MOST_ENDPOINTS]:
        state = tables.word(routing_pb2.ConnectivityState.Name(endpoint.state), "CONNECTIVITY_STATE_")
        why = (tables.cell(endpoint.reason),) if endpoint.reason else ()
        yield _label("", tables.cell(endpoint.endpoint), _state(state), *_readings(endpoint), *why)
    if (more := len(sample.endpoints) - MOST_ENDPOINTS) > 0:
        yield _label("", f"and {more} more")


def _readings(sample: monitor_pb2.ConnectivitySample | monitor_pb2.EndpointSample) -> Iterator[str]:
    if sample.HasField("latency"):
        yield f"latency {sample.latency:.0f} ms"
    if sample.HasField("packet_loss") and sample.packet_loss > 0.0:
        yield f"loss {sample.packet_loss:.0f} %"
    if sample.HasField("bandwidth"):
        yield f"{sample.bandwidth:.0f} Mbit/s"


def _machine_state(snapshot: monitor_pb2.Snapshot) -> str:
    return tables.word(routing_pb2.ResourceState.Name(snapshot.resource_state), "RESOURCE_STATE_")


def _state(name: str) -> Text:
    return Text(name, style=_STYLES.get(name, ""))
