"""How conversations lie in the store.

A session has an id, which the outside knows, and a number (8 bytes, counted up,
never used again), which everything inside is keyed by. So messages hold no id, and
a copy moves their bytes. Keys are bytes whose order is the order that is read in:
numbers big-endian, instants shifted so that those before 1970 sort first.

| table | key | value |
|---|---|---|
| ids | session id | number |
| sessions | number | SessionRecord: the header, written by updates only |
| progress | number | ProgressRecord: what every message changes, small |
| messages | number, sequence | MessageRecord, written once; an answer twice |
| pieces | number, sequence, place | PieceRecord: checkpoints of a running answer, gone when it ends |
| recency | update time, session id | number |
| labels | label, update time, session id | number |
| label_counts | label | how many sessions have it |
| running | number | nothing: a turn runs, look here after a crash |
| garbage | number | nothing: not to be seen; messages are being built, or wait to be swept |
| counters | name | the number that is given out next |

A label is a hash of a metadata path and a scalar (`labels.py`). A filter walks the
rarest of its labels newest first and looks the others up, so a list costs what it
shows. An append writes one message and one progress record, and moves the session's
entries in recency and labels: the same for ten messages as for a million.

Numbers are 8 bytes, big-endian; records are protobuf; every value carries a
checksum over its key and itself (`oblixd.store.table`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from oblixd.store import Store, Table

NUMBER_BYTES = 8
_TIME_SHIFT = 1 << 63


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of the conversations."""

    ids: Table
    sessions: Table
    progress: Table
    messages: Table
    pieces: Table
    recency: Table
    labels: Table
    label_counts: Table
    running: Table
    garbage: Table
    counters: Table

    @classmethod
    def of(cls, store: Store) -> Tables:
        """The tables in an open store."""
        return cls(*(store.table(name) for name in TABLE_NAMES))


TABLE_NAMES = tuple(field.name for field in fields(Tables))


def number_key(number: int) -> bytes:
    """A number as a key, or as a value."""
    return number.to_bytes(NUMBER_BYTES, "big")


def message_key(number: int, sequence: int) -> bytes:
    """The key of a message."""
    return number_key(number) + number_key(sequence)


def sequence_of(key: bytes) -> int:
    """The sequence in a message's key."""
    return int.from_bytes(key[NUMBER_BYTES : 2 * NUMBER_BYTES], "big")


def recency_key(update_us: int, session_id: str) -> bytes:
    """A session's place in the order (updated, id)."""
    return number_key(update_us + _TIME_SHIFT) + session_id.encode()


def session_id_of(recency_key: bytes) -> str:
    """The session's id in a place."""
    return recency_key[NUMBER_BYTES:].decode()
