"""Backups: the whole store as it is at one moment, as the pieces of a file.

What becomes of the conversations in a backup before they are served again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from oblix.v1.sessions_pb2 import BackupStoreResponse

from oblixd.sessions.storage.changes import STORE_ID
from oblixd.store import Store
from oblixd.store.offline import File


async def backup(store: Store) -> AsyncGenerator[BackupStoreResponse, None]:
    """See `Sessions.backup`."""
    copy = await store.backup()
    size = copy.size
    async with aclosing(copy.pieces()) as pieces:
        async for piece in pieces:
            yield BackupStoreResponse(data=piece, estimated_size=size)
            size = 0


def make_another(file: File) -> None:
    """Take the store's id away; the daemon gives it another one.

    Revisions are counted on from where the backup was made, so what somebody noted of
    them since (a search index, a watcher) means other changes.
    """
    if counters := file.tables.get("counters"):
        counters.delete(file.txn, STORE_ID)
