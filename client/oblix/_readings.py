"""The numbers that a decision was made on, for a person."""

from __future__ import annotations

from oblix.v1 import routing_pb2

_WORDS = {
    "cpu_percent": ("CPU", " %"),
    "memory_percent": ("memory", " %"),
    "load_average": ("load", ""),
    "gpu_percent": ("GPU", " %"),
    "latency_ms": ("latency", " ms"),
    "packet_loss_percent": ("packet loss", " %"),
    "bandwidth_mbps": ("bandwidth", " Mbps"),
}
NETWORK = {"reachable", "latency_ms", "packet_loss_percent", "bandwidth_mbps"}
"""The names of those that tell of the network."""


def told(reading: routing_pb2.Reading) -> str:
    """A number in its unit, to one decimal, and its threshold: `CPU 55.9 % (threshold 80 %)`."""
    if reading.name == "reachable":
        return "cloud models can be reached" if reading.value else "cloud models can't be reached"
    name, unit = _WORDS.get(reading.name, (reading.name, ""))
    return f"{name} {_short(reading.value)}{unit} (threshold {_short(reading.threshold)}{unit})"


def _short(value: float) -> str:
    return f"{round(value, 1):g}"
