"""Search: an index of every message's words, derived from the store and kept beside it.

`Search` is what the daemon makes and the gRPC edge asks. Messages are found through a
SQLite FTS5 table (`schema.py`) that a thread of its own keeps up to date
(`indexer.py`), and read from the store when they are shown (`searcher.py`).
"""

from oblixd.sessions.search.searcher import Search

__all__ = ["Search"]
