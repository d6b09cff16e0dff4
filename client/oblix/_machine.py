"""The daemon's measurements as dicts that are safe as JSON."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from oblix import _times
from oblix._answers import name_of
from oblix.v1 import monitor_pb2, routing_pb2


def resources_of(snapshot: monitor_pb2.Snapshot) -> dict[str, Any]:
    """This machine's load."""
    state = name_of(routing_pb2.ResourceState.DESCRIPTOR, snapshot.resource_state)
    return _measured(snapshot.resources) | {"state": state, "sampled_at": _sampled_at(snapshot)}


def connectivity_of(snapshot: monitor_pb2.Snapshot) -> dict[str, Any]:
    """The network to cloud models."""
    state = name_of(routing_pb2.ConnectivityState.DESCRIPTOR, snapshot.connectivity.state)
    return _measured(snapshot.connectivity) | {"state": state, "sampled_at": _sampled_at(snapshot)}


def _measured(sample: Message) -> dict[str, Any]:
    names = [field.name for field in sample.DESCRIPTOR.fields if field.has_presence]
    return {name: getattr(sample, name) if sample.HasField(name) else None for name in names}


def _sampled_at(snapshot: monitor_pb2.Snapshot) -> str | None:
    return _times.to_text(snapshot.sample_time) if snapshot.HasField("sample_time") else None
