"""The events of an execution, collected."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from oblix.v1 import executions_pb2

from oblixd.errors import OblixdError

Events = AsyncIterator[executions_pb2.ExecuteResponse]


async def all_of(events: Events) -> list[executions_pb2.ExecuteResponse]:
    """Every event, to the end."""
    return [event async for event in events]


def text_of(events: list[executions_pb2.ExecuteResponse]) -> str:
    """What all deltas say together."""
    return "".join(event.delta.text for event in events if event.WhichOneof("event") == "delta")


async def until(events: Events, kind: str) -> executions_pb2.ExecuteResponse:
    """The first event of a kind."""
    async for event in events:
        if event.WhichOneof("event") == kind:
            return event
    raise AssertionError(f"no {kind}")


async def error_of(events: Events, kind: type[OblixdError]) -> OblixdError:
    """The error that ends it."""
    with pytest.raises(kind) as failed:
        await all_of(events)
    return failed.value
