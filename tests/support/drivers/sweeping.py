"""What a store holds, and the end of its sweeping."""

from __future__ import annotations

from collections import Counter

from oblixd.sessions import TABLE_NAMES, Sessions


def entries(sessions: Sessions) -> Counter[str]:
    """How many entries each table has that has any."""
    store = sessions.db.store
    with store.read() as txn:
        return +Counter({name: store.table(name).count(txn) for name in TABLE_NAMES})


async def swept(sessions: Sessions) -> None:
    """Wait until all that was deleted is swept away."""
    while entries(sessions)["garbage"]:
        await sessions.db.store.write(lambda txn: None)
