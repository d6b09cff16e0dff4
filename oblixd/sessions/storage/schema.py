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
| messages | number, sequence | MessageRecord, written once, an answer twice; a tombstone is empty |
| versions | number, sequence, version | MessageRecord: what a message was before an edit or an answer anew |
| pieces | number, sequence, index | PieceRecord: checkpoints of a running answer, gone when it ends |
| recency | partition, time, session id | number |
| labels | partition, label, time, session id | number |
| label_counts | partition, label | how many sessions have it |
| deleted | number | DeletedRecord: both records of a session that can be brought back |
| deleted_ids | session id | number, as in ids, for those |
| changes | revision | ChangeRecord: whose header changed, the last 100,000 times |
| sources | hash of an import's source and content, number | nothing: it is here already |
| retentions | number | nothing: the session has a retention of its own |
| running | number | nothing: a turn runs, look here after a crash |
| requests | request id | RequestRecord: what became of a request that began a turn, for the session's life |
| turns | number, request id | nothing: the session's entries in requests |
| garbage | number | nothing: not to be seen; messages are being built, or wait to be swept |
| counters | name | the number that is given out next; the store's id |

A label is a hash of a metadata path and a scalar (`index.py`). A filter walks the
rarest of its labels newest first and looks the others up, so a list costs what it
shows. A partition is where sessions are looked for together: the open ones, the archived
ones, the deleted ones (`index.py`), so that no list walks past what it doesn't
show. An append writes one message, one progress record and one change, and moves the
session's entries in recency and labels: the same for ten messages as for a million.

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
    versions: Table
    recency: Table
    labels: Table
    label_counts: Table
    deleted: Table
    deleted_ids: Table
    changes: Table
    sources: Table
    retentions: Table
    running: Table
    requests: Table
    turns: Table
    garbage: Table
    counters: Table

    @classmethod
    def of(cls, store: Store) -> Tables:
        """Return the tables in an open store."""
        return cls(*(store.table(name) for name in TABLE_NAMES))


TABLE_NAMES = tuple(field.name for field in fields(Tables))


def number_key(number: int) -> bytes:
    """Return a number as a key, or as a value."""
    return number.to_bytes(NUMBER_BYTES, "big")


def message_key(number: int, sequence: int) -> bytes:
    """Return the key of a message."""
    return number_key(number) + number_key(sequence)


def sequence_of(key: bytes) -> int:
    """Return the sequence in a message's key."""
    return int.from_bytes(key[NUMBER_BYTES : 2 * NUMBER_BYTES], "big")


def time_key(us: int) -> bytes:
    """Return an instant as a key."""
    return number_key(us + _TIME_SHIFT)


def position_key(us: int, session_id: str) -> bytes:
    """Return a session's position in the order (time, id)."""
    return time_key(us) + session_id.encode()


def time_of(position: bytes) -> int:
    """Return the instant in a position."""
    return int.from_bytes(position[:NUMBER_BYTES], "big") - _TIME_SHIFT


def session_id_of(position: bytes) -> str:
    """Return the session's id in a position."""
    return position[NUMBER_BYTES:].decode()
