"""The daemon's measurements as dicts that are safe as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from oblix._convert import records
from oblix._convert.decoding import name_of
from oblix.v1 import monitor_pb2, routing_pb2


def resources_of(snapshot: monitor_pb2.Snapshot) -> dict[str, Any]:
    """Return this machine's load. `gpu` is the graphics processor with the most memory."""
    gpus = snapshot.resources.gpus
    return _fields(snapshot.resources) | {
        "gpu": _gpu(max(gpus, key=lambda gpu: gpu.memory_total_bytes, default=None)),
        "state": name_of(routing_pb2.ResourceState.DESCRIPTOR, snapshot.resource_state),
        "since": _moment(snapshot.resource_since_time),
        "sampled_at": _moment(snapshot.sample_time),
    }


def connectivity_of(snapshot: monitor_pb2.Snapshot) -> dict[str, Any]:
    """Return the network to cloud models."""
    return _connectivity(snapshot.connectivity) | {
        "endpoints": [_connectivity(endpoint) for endpoint in snapshot.connectivity.endpoints],
        "sampled_at": _moment(snapshot.sample_time),
    }


def _connectivity(sample: monitor_pb2.ConnectivitySample | monitor_pb2.EndpointSample) -> dict[str, Any]:
    found = _fields(sample)
    found["since"] = found.pop("since_time")
    return found | {"state": name_of(routing_pb2.ConnectivityState.DESCRIPTOR, sample.state)}


def _gpu(sample: monitor_pb2.GpuSample | None) -> dict[str, Any]:
    names = ("name", "utilization", "memory_utilization")
    known = {} if sample is None else _fields(sample)
    return {"available": sample is not None} | {name: known.get(name) for name in names}


def _fields(sample: Message) -> dict[str, Any]:
    """Return every field by its name; None where it is not set, an empty text included."""
    found: dict[str, Any] = {}
    for field in sample.DESCRIPTOR.fields:
        value = getattr(sample, field.name)
        if field.is_repeated:
            found[field.name] = _values(value)
        else:
            is_set = sample.HasField(field.name) if field.has_presence else value != ""
            found[field.name] = _value(value) if is_set else None
    return found


def _values(values: Iterable[Any]) -> list[Any]:
    return [_value(value) for value in values]


def _value(value: Any) -> Any:
    match value:
        case Timestamp():
            return records.to_text(value)
        case Duration():
            return records.seconds_of(value)
        case Message():
            return _fields(value)
        case float():
            return value if math.isfinite(value) else None
    return value


def _moment(time: Timestamp) -> str | None:
    """Return None for a time that is not set: nothing was measured in 1970."""
    return records.to_text(time) if time.ByteSize() else None
