"""Backups: the whole store as it is at one moment, as the pieces of a file."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from oblix.v1.sessions_pb2 import BackupStoreResponse

from oblixd.store import Store


async def backup(store: Store) -> AsyncGenerator[BackupStoreResponse, None]:
    """See `Sessions.backup`."""
    copy = await store.backup()
    size = copy.size
    async with aclosing(copy.pieces()) as pieces:
        async for piece in pieces:
            yield BackupStoreResponse(data=piece, estimated_size=size)
            size = 0
