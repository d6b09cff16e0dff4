"""Pages of sessions and of messages. Each page is one short read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from oblix.v1 import messages_pb2
from oblix.v1 import sessions_pb2 as pb

from oblixd.errors import DataLossError
from oblixd.sessions.deletion import deleted_session
from oblixd.sessions.labels import is_scalar, label
from oblixd.sessions.ledger import Ledger, damage_of
from oblixd.sessions.refs import Ref
from oblixd.sessions.shelves import ARCHIVED, DELETED, OPEN, Range
from oblixd.sessions.structs import MAX_FILTER_KEYS, check_number
from oblixd.sessions.tables import number_key, session_id_of, time_key
from oblixd.sessions.times import timestamp_us
from oblixd.sessions.tokens import page_place, page_token
from oblixd.sessions.validation import check_page_size, check_sequence, check_time, invalid
from oblixd.store import Transaction

DEFAULT_SESSIONS = 50
DEFAULT_MESSAGES = 100
MAX_PAGE_BYTES = 4 * 2**20
"""Where a page ends early, so that an answer stays within what gRPC carries."""
MAX_EXAMINED = 2_000
"""How many sessions one page looks at. Where none of them match, it is short or empty, with a token."""
_LAST_SEQUENCE = 2**64 - 1
_SHELVES = {
    pb.ARCHIVED_FILTER_UNSPECIFIED: (OPEN,),
    pb.ARCHIVED_FILTER_EXCLUDE: (OPEN,),
    pb.ARCHIVED_FILTER_ONLY: (ARCHIVED,),
    pb.ARCHIVED_FILTER_INCLUDE: (OPEN, ARCHIVED),
}


@dataclass(frozen=True, slots=True)
class Query:
    """Which sessions are wanted."""

    filter: Struct
    updated_from: Timestamp | None = None
    updated_before: Timestamp | None = None
    archived: pb.ArchivedFilter.ValueType = pb.ARCHIVED_FILTER_UNSPECIFIED
    deleted: bool = False
    """The deleted ones instead; the times are then those of the deletion."""

    def range(self) -> Range:
        """What is to be walked for it; InvalidArgumentError where it makes no sense."""
        labels = tuple(filter_labels(self.filter))
        if self.deleted and labels:
            raise invalid("FILTER_OF_DELETED", "filter", "must be empty where deleted sessions are listed.")
        return Range(
            shelves=(DELETED,) if self.deleted else shelves_of(self.archived),
            labels=labels,
            first=_bound(self.updated_from, "updated_from"),
            end=_bound(self.updated_before, "updated_before"),
        )


def shelves_of(archived: pb.ArchivedFilter.ValueType) -> tuple[bytes, ...]:
    """Where the sessions stand that a list shows."""
    if archived not in _SHELVES:
        known = ", ".join(pb.ArchivedFilter.keys())
        raise invalid("INVALID_VALUE", "archived", f"must be one of {known}.", limit=known, given=archived)
    return _SHELVES[archived]


def _bound(time: Timestamp | None, field: str) -> bytes:
    if time is None:
        return b""
    check_time(time, field)
    # Sessions change at whole microseconds: a bound between two of them is the later one.
    return time_key(timestamp_us(time) + (time.nanos % 1000 > 0))


def session_page(
    ledger: Ledger, page_size: int, token: str, query: Query, deleted_days: int
) -> tuple[list[pb.Session], str]:
    """The next sessions that a query asks for, newest first, and the token of the rest."""
    size = check_page_size(page_size, DEFAULT_SESSIONS)
    wanted = query.range()
    identity = _identity(wanted)
    place = page_place(identity, token)
    sessions: list[pb.Session] = []
    room = MAX_PAGE_BYTES
    with ledger.store.read() as txn:
        for examined, (key, number) in enumerate(ledger.catalog.shelves.walk(txn, wanted, place)):
            if len(sessions) == size or room < 0 or examined == MAX_EXAMINED:
                return sessions, page_token(identity, place)
            if number is not None:
                ref = Ref(number, session_id_of(key))
                sessions.append(_session(ledger, txn, ref, deleted_days if query.deleted else None))
                room -= sessions[-1].ByteSize()
            place = key
    return sessions, ""


def _identity(wanted: Range) -> bytes:
    """What a page token is bound to."""
    bounds = [len(wanted.first).to_bytes(1, "big"), wanted.first, wanted.end]
    return b"sessions" + b"".join([*wanted.shelves, *bounds, *wanted.labels])


def filter_labels(wanted: Struct) -> list[bytes]:
    """The labels that a filter asks for, sorted; InvalidArgumentError where it can't be one."""
    if len(wanted.fields) > MAX_FILTER_KEYS:
        raise invalid(
            "TOO_MANY_KEYS",
            "filter",
            f"must have at most {MAX_FILTER_KEYS} keys, not {len(wanted.fields)}.",
            limit=MAX_FILTER_KEYS,
            given=len(wanted.fields),
        )
    for key, value in wanted.fields.items():
        if not is_scalar(value):
            raise invalid(
                "FILTER_NOT_SCALAR",
                f"filter.{key[:128]}",
                "must be a text, a number, true, false or null.",
                given=value.WhichOneof("kind"),
            )
        if value.HasField("number_value"):
            check_number(value.number_value, f"filter.{key[:128]}")
    return sorted(label(key, value) for key, value in wanted.fields.items())


def _session(ledger: Ledger, txn: Transaction, ref: Ref, deleted_days: int | None) -> pb.Session:
    try:
        if deleted_days is None:
            return ledger.catalog.entry(txn, ref).session()
        return deleted_session(ledger, txn, ref.number, deleted_days)
    except DataLossError as error:
        raise damage_of(ref.id, error) from error


def message_page(
    ledger: Ledger, ref: Ref, page_size: int, token: str, newest_first: bool, *, from_sequence: int
) -> tuple[list[messages_pb2.Message], str]:
    """The next messages of a session in the order asked for, and the token of the rest."""
    size = check_page_size(page_size, DEFAULT_MESSAGES)
    check_sequence(from_sequence, "from_sequence")
    query = b"messages" + bytes([newest_first]) + number_key(ref.number)
    place = page_place(query, token)
    at = int.from_bytes(place, "big") if place else _start(from_sequence, newest_first)
    messages: list[messages_pb2.Message] = []
    room = MAX_PAGE_BYTES
    with ledger.read(ref) as txn:
        progress, transcript = ledger.catalog.progress(txn, ref), ledger.transcript
        read = transcript.scan_back if newest_first else transcript.scan
        scan = read(txn, ref.number, progress, at)
        for sequence, payload in scan:
            room -= len(payload)
            if len(messages) == size or (messages and room < 0):
                # The place is exclusive backwards and inclusive forwards.
                rest = sequence + 1 if newest_first else sequence
                return messages, page_token(query, number_key(rest))
            messages.append(ledger.transcript.message(txn, ref.number, sequence, payload))
    return messages, ""


def _start(from_sequence: int, newest_first: bool) -> int:
    """Where a scan begins; backwards that is exclusive."""
    if newest_first:
        return from_sequence + 1 if from_sequence else _LAST_SEQUENCE
    return from_sequence


def history(ledger: Ledger, ref: Ref, before: int) -> Iterator[messages_pb2.Message]:
    """The messages before a sequence, newest first, each in a read of its own."""
    while True:
        with ledger.read(ref) as txn:
            progress = ledger.catalog.progress(txn, ref)
            found = next(ledger.transcript.scan_back(txn, ref.number, progress, before), None)
            if found is None:
                return
            before, payload = found
            message = ledger.transcript.message(txn, ref.number, before, payload)
        yield message
