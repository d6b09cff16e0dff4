"""Conversations: sessions, their messages and turns, kept in the store.

`Sessions` is what other rooms use; a `Turn` is one question and its answer while it
is being written. How it lies on disk: `tables.py`.
"""

from oblixd.sessions.requests import Outcome, RecordedTurn
from oblixd.sessions.rules import Keeping
from oblixd.sessions.sessions import Sessions
from oblixd.sessions.tables import TABLE_NAMES
from oblixd.sessions.turns import Turn

__all__ = ["TABLE_NAMES", "Keeping", "Outcome", "RecordedTurn", "Sessions", "Turn"]
