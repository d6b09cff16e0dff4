"""Conversations: sessions, their messages and turns, kept in the store.

`Sessions` is what other packages use; a `Turn` is one question and its answer while it
is being written. How it lies on disk: `schema.py`.
"""

from oblixd.sessions.service import Sessions
from oblixd.sessions.storage.index import label, labels_of
from oblixd.sessions.storage.request_table import RecordedTurn, TurnCompletion, reused_error
from oblixd.sessions.storage.retention_rules import RetentionConfig
from oblixd.sessions.storage.schema import TABLE_NAMES
from oblixd.sessions.storage.tails import Tails
from oblixd.sessions.turns import ExtraWrite, Turn
from oblixd.sessions.validation import (
    MAX_JSON_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_TITLE_CHARACTERS,
    check_filter,
    check_message,
)

__all__ = [
    "MAX_JSON_BYTES",
    "MAX_MESSAGE_BYTES",
    "MAX_TITLE_CHARACTERS",
    "TABLE_NAMES",
    "ExtraWrite",
    "RecordedTurn",
    "RetentionConfig",
    "Sessions",
    "Tails",
    "Turn",
    "TurnCompletion",
    "check_filter",
    "check_message",
    "label",
    "labels_of",
    "reused_error",
]
