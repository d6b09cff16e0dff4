"""Reading what a watch tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from oblix.v1 import sessions_pb2

WAIT_S = 60.0


async def next_event(events: AsyncIterator[sessions_pb2.WatchSessionsResponse]) -> tuple[str, str, int]:
    """The next event: its kind, its session, its revision."""
    async with asyncio.timeout(WAIT_S):
        event = await anext(events)
    kind = event.WhichOneof("event") or ""
    what = getattr(event, kind)
    match kind:
        case "session":
            return kind, what.session.id, what.revision
        case "removed":
            return kind, what.session_id, what.revision
        case "synced":
            return kind, "", what.revision
        case _:
            return kind, "", what.oldest_revision


async def told_until_synced(
    events: AsyncIterator[sessions_pb2.WatchSessionsResponse],
) -> list[tuple[str, str]]:
    """Kinds and sessions of what comes before the next `synced`."""
    found = []
    while (event := await next_event(events))[0] != "synced":
        found.append(event[:2])
    return found
