"""Pages of sessions and of messages. Each page is one short read.

Page tokens: a position in a list, bound to the query that it belongs to.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b

from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from oblix.v1 import messages_pb2, sessions_pb2

from oblixd.errors import DataLossError, invalid_field
from oblixd.sessions.deletion import deleted_session
from oblixd.sessions.storage.db import SessionDb, damage_of
from oblixd.sessions.storage.index import ARCHIVED, DAMAGED, DELETED, OPEN, Range, is_scalar, label
from oblixd.sessions.storage.keys import SessionKey, timestamp_us
from oblixd.sessions.storage.schema import number_key, session_id_of, time_key
from oblixd.sessions.validation import (
    MAX_FILTER_KEYS,
    check_number,
    check_page_size,
    check_sequence,
    check_time,
    empty_time,
)
from oblixd.store import Transaction

_DIGEST_BYTES = 8


def page_token(query: bytes, position: bytes) -> str:
    """Return the token for a position in a query's result."""
    return base64.urlsafe_b64encode(_digest(query, position) + position).decode().rstrip("=")


def page_position(query: bytes, token: str) -> bytes:
    """Return the position that a token holds, empty for an empty token.

    InvalidArgumentError PAGE_TOKEN_INVALID where it is not one of this query's.
    """
    if not token:
        return b""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    position = raw[_DIGEST_BYTES:]
    # Base64 has several texts for the same bytes: only the one that we gave is taken.
    if not position or page_token(query, position) != token:
        raise invalid_field(
            "PAGE_TOKEN_INVALID",
            "page_token",
            "is not one that this query gave. Send the same query again without one to start over.",
            given=token,
        )
    return position


def _digest(query: bytes, position: bytes) -> bytes:
    return blake2b(position, digest_size=_DIGEST_BYTES, key=blake2b(query, digest_size=32).digest()).digest()


DEFAULT_SESSIONS = 50
DEFAULT_MESSAGES = 100
MAX_PAGE_BYTES = 4 * 2**20
"""Where a page ends early, so that an answer stays within what gRPC carries."""
MAX_EXAMINED = 2_000
"""How many sessions one page looks at. Where none of them match, it is short or empty, with a token."""
_LAST_SEQUENCE = 2**64 - 1
_PARTITIONS = {
    sessions_pb2.ARCHIVED_FILTER_UNSPECIFIED: (OPEN,),
    sessions_pb2.ARCHIVED_FILTER_EXCLUDE: (OPEN,),
    sessions_pb2.ARCHIVED_FILTER_ONLY: (ARCHIVED,),
    sessions_pb2.ARCHIVED_FILTER_INCLUDE: (OPEN, ARCHIVED),
}


@dataclass(frozen=True, slots=True)
class Query:
    """Which sessions are wanted."""

    filter: Struct
    from_time: Timestamp | None = None
    before_time: Timestamp | None = None
    archived_filter: sessions_pb2.ArchivedFilter.ValueType = sessions_pb2.ARCHIVED_FILTER_UNSPECIFIED
    is_deleted: bool = False
    """The deleted ones instead; the times are then those of the deletion."""

    def range(self) -> Range:
        """Return what is to be walked for it; InvalidArgumentError where it makes no sense."""
        labels = tuple(filter_labels(self.filter))
        if self.is_deleted and labels:
            raise invalid_field(
                "FILTER_OF_DELETED", "filter", "must be empty where deleted sessions are listed."
            )
        return Range(
            partitions=(DELETED,) if self.is_deleted else partitions_of(self.archived_filter),
            labels=labels,
            first=_bound(self.from_time, "updated_from"),
            end=_bound(self.before_time, "updated_before"),
        )


def partitions_of(archived: sessions_pb2.ArchivedFilter.ValueType) -> tuple[bytes, ...]:
    """Return where the sessions stand that a list shows."""
    if archived not in _PARTITIONS:
        known = ", ".join(sessions_pb2.ArchivedFilter.keys())
        raise invalid_field(
            "INVALID_VALUE", "archived", f"must be one of {known}.", limit=known, given=archived
        )
    return _PARTITIONS[archived]


def _bound(time: Timestamp | None, field: str) -> bytes:
    if time is None:
        return b""
    check_time(time, field)
    if not time.ByteSize():
        raise empty_time(field, "no bound")
    # Sessions change at whole microseconds: a bound between two of them is the later one.
    return time_key(timestamp_us(time) + (time.nanos % 1000 > 0))


def session_page(
    db: SessionDb,
    page_size: int,
    token: str,
    query: Query,
    deleted_days: int,
    *,
    damaged: list[sessions_pb2.DamagedSession],
) -> tuple[list[sessions_pb2.Session], str]:
    """Return the next sessions that a query asks for, newest first, and the token of the rest.

    Those that can't be shown for damage are put into `damaged`; they keep no other from being listed.
    """
    size = check_page_size(page_size, DEFAULT_SESSIONS)
    wanted = query.range()
    identity = _identity(wanted)
    position = page_position(identity, token)
    sessions: list[sessions_pb2.Session] = []
    room, days = MAX_PAGE_BYTES, deleted_days if query.is_deleted else None
    with db.store.read() as txn:
        for examined, (key, number) in enumerate(db.headers.partitions.walk(txn, wanted, position)):
            if len(sessions) == size or room < 0 or examined == MAX_EXAMINED:
                return sessions, page_token(identity, position)
            position = key
            if number is None:
                continue
            try:
                session = _session(db, txn, _key_at(db, txn, key, number), days)
            except DataLossError as error:
                damaged.append(_damaged_session(error))
            else:
                sessions.append(session)
                room -= session.ByteSize()
    return sessions, ""


def _key_at(db: SessionDb, txn: Transaction, position: bytes, number: int) -> SessionKey:
    """Return the session at a position in an index; DataLossError where the position itself is damaged."""
    if number != DAMAGED:
        return SessionKey(number, session_id_of(position))
    with suppress(UnicodeDecodeError):
        if found := db.headers.find(txn, session_id_of(position)):
            return found
    raise DataLossError(
        "RECORD_DAMAGED",
        "A session's entry in the index is damaged on disk, and its id with it. Whoever knows the id reaches "
        "it as before. End the daemon and call `oblixd salvage`, which makes the index anew.",
    )


def _damaged_session(error: DataLossError) -> sessions_pb2.DamagedSession:
    return sessions_pb2.DamagedSession(
        session_id=error.metadata.get("session_id", ""), reason=error.reason, detail=error.message
    )


def _identity(wanted: Range) -> bytes:
    """Return what a page token is bound to."""
    bounds = [len(wanted.first).to_bytes(1, "big"), wanted.first, wanted.end]
    return b"sessions" + b"".join([*wanted.partitions, *bounds, *wanted.labels])


def filter_labels(wanted: Struct) -> list[bytes]:
    """Return the labels that a filter asks for, sorted; InvalidArgumentError where it can't be one."""
    if len(wanted.fields) > MAX_FILTER_KEYS:
        raise invalid_field(
            "TOO_MANY_KEYS",
            "filter",
            f"must have at most {MAX_FILTER_KEYS} keys, not {len(wanted.fields)}.",
            limit=MAX_FILTER_KEYS,
            given=len(wanted.fields),
        )
    for key, value in wanted.fields.items():
        if not is_scalar(value):
            raise invalid_field(
                "FILTER_NOT_SCALAR",
                f"filter.{key[:128]}",
                "must be a text, a number, true, false or null.",
                given=value.WhichOneof("kind"),
            )
        if value.HasField("number_value"):
            check_number(value.number_value, f"filter.{key[:128]}")
    return sorted(label(key, value) for key, value in wanted.fields.items())


def _session(
    db: SessionDb, txn: Transaction, ref: SessionKey, deleted_days: int | None
) -> sessions_pb2.Session:
    try:
        if deleted_days is None:
            return db.headers.session(txn, ref)
        return deleted_session(db, txn, ref.number, deleted_days)
    except DataLossError as error:
        raise damage_of(ref.id, error) from error


def message_page(
    db: SessionDb, ref: SessionKey, page_size: int, token: str, newest_first: bool, *, from_sequence: int
) -> tuple[list[messages_pb2.Message], str]:
    """Return the next messages of a session in the order asked for, and the token of the rest."""
    size = check_page_size(page_size, DEFAULT_MESSAGES)
    check_sequence(from_sequence, "from_sequence")
    query = b"messages" + bytes([newest_first]) + number_key(ref.number)
    position = page_position(query, token)
    at = int.from_bytes(position, "big") if position else _start(from_sequence, newest_first)
    messages: list[messages_pb2.Message] = []
    room = MAX_PAGE_BYTES
    with db.read(ref) as txn:
        progress, message_table = db.headers.progress(txn, ref), db.message_table
        read = message_table.scan_back if newest_first else message_table.scan
        scan = read(txn, ref.number, progress, at)
        for sequence, payload in scan:
            room -= len(payload)
            if len(messages) == size or (messages and room < 0):
                # The position is exclusive backwards and inclusive forwards.
                rest = sequence + 1 if newest_first else sequence
                return messages, page_token(query, number_key(rest))
            messages.append(db.message_table.message(txn, ref.number, sequence, payload))
    return messages, ""


def _start(from_sequence: int, newest_first: bool) -> int:
    """Return where a scan begins; backwards that is exclusive."""
    if newest_first:
        return from_sequence + 1 if from_sequence else _LAST_SEQUENCE
    return from_sequence


def history(db: SessionDb, ref: SessionKey, before: int) -> Iterator[messages_pb2.Message]:
    """Yield the messages before a sequence, newest first, each in a read of its own."""
    while True:
        with db.read(ref) as txn:
            progress = db.headers.progress(txn, ref)
            found = next(db.message_table.scan_back(txn, ref.number, progress, before), None)
            if found is None:
                return
            before, payload = found
            message = db.message_table.message(txn, ref.number, before, payload)
        yield message
