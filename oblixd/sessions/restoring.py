"""What becomes of the conversations in a backup before they are served again."""

from __future__ import annotations

from oblixd.sessions.changes import STORE_ID
from oblixd.store.offline import File


def make_another(file: File) -> None:
    """Takes the store's id away; the daemon gives it another one.

    Revisions are counted on from where the backup was made, so what somebody noted of
    them since (a search index, a watcher) means other changes.
    """
    if counters := file.tables.get("counters"):
        counters.delete(file.txn, STORE_ID)
