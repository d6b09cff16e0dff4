"""Pages of sessions and of messages. Each page is one short read."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.struct_pb2 import Struct
from oblix.v1 import messages_pb2, sessions_pb2

from oblixd.errors import DataLossError
from oblixd.sessions.catalog import Ref
from oblixd.sessions.labels import is_scalar, label
from oblixd.sessions.ledger import Ledger, damage_of
from oblixd.sessions.structs import MAX_FILTER_KEYS, check_number
from oblixd.sessions.tables import Tables, number_key, session_id_of
from oblixd.sessions.tokens import page_place, page_token
from oblixd.sessions.validation import check_page_size, invalid
from oblixd.store import Transaction

DEFAULT_SESSIONS = 50
DEFAULT_MESSAGES = 100
MAX_PAGE_BYTES = 4 * 2**20
"""Where a page ends early, so that an answer stays within what gRPC carries."""
MAX_EXAMINED = 2_000
"""How many sessions one page looks at. Where none of them match, it is short or empty, with a token."""
_LAST_SEQUENCE = 2**64 - 1


def session_page(
    ledger: Ledger, page_size: int, token: str, wanted: Struct
) -> tuple[list[sessions_pb2.Session], str]:
    """The next sessions that have all wanted labels, newest first, and the token of the rest."""
    size = check_page_size(page_size, DEFAULT_SESSIONS)
    labels = filter_labels(wanted)
    query = b"sessions" + b"".join(labels)
    place = page_place(query, token)
    sessions: list[sessions_pb2.Session] = []
    room = MAX_PAGE_BYTES
    with ledger.store.read() as txn:
        for examined, (key, number) in enumerate(_candidates(ledger, txn, labels, place)):
            if len(sessions) == size or room < 0 or examined == MAX_EXAMINED:
                return sessions, page_token(query, place)
            if number is not None:
                sessions.append(_session(ledger, txn, Ref(number, session_id_of(key))))
                room -= sessions[-1].ByteSize()
            place = key
    return sessions, ""


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


def _candidates(
    ledger: Ledger, txn: Transaction, labels: list[bytes], place: bytes
) -> Iterator[tuple[bytes, int | None]]:
    """Places in the order, newest first: with the number of a session that has all labels, or None."""
    tables = ledger.tables
    if not labels:
        scan = tables.recency.descending(txn, b"", place)
        return ((key, int.from_bytes(value, "big")) for key, value in scan)
    rarest = min(labels, key=lambda label: ledger.catalog.label_count(txn, label))
    others = [label for label in labels if label != rarest]
    walk = tables.labels.descending(txn, rarest, rarest + place if place else b"")
    return (_checked(tables, txn, key[len(rarest) :], value, others) for key, value in walk)


def _checked(
    tables: Tables, txn: Transaction, place: bytes, value: bytes, labels: list[bytes]
) -> tuple[bytes, int | None]:
    there = all(tables.labels.get(txn, label + place) is not None for label in labels)
    return place, int.from_bytes(value, "big") if there else None


def _session(ledger: Ledger, txn: Transaction, ref: Ref) -> sessions_pb2.Session:
    try:
        return ledger.catalog.entry(txn, ref).session()
    except DataLossError as error:
        raise damage_of(ref.id, error) from error


def message_page(
    ledger: Ledger, ref: Ref, page_size: int, token: str, newest_first: bool
) -> tuple[list[messages_pb2.Message], str]:
    """The next messages of a session in the order asked for, and the token of the rest."""
    size = check_page_size(page_size, DEFAULT_MESSAGES)
    query = b"messages" + bytes([newest_first]) + number_key(ref.number)
    place = page_place(query, token)
    at = int.from_bytes(place, "big") if place else _LAST_SEQUENCE if newest_first else 0
    messages: list[messages_pb2.Message] = []
    room = MAX_PAGE_BYTES
    with ledger.read(ref) as txn:
        scan = ledger.transcript.scan(txn, ref.number, at, backwards=newest_first)
        for sequence, payload in scan:
            room -= len(payload)
            if len(messages) == size or (messages and room < 0):
                # The place is exclusive backwards and inclusive forwards.
                rest = sequence + 1 if newest_first else sequence
                return messages, page_token(query, number_key(rest))
            messages.append(ledger.transcript.message(txn, ref.number, sequence, payload))
    return messages, ""


def history(ledger: Ledger, ref: Ref, before: int) -> Iterator[messages_pb2.Message]:
    """The messages before a sequence, newest first, each in a read of its own."""
    while True:
        with ledger.read(ref) as txn:
            ledger.catalog.progress(txn, ref)
            found = next(ledger.transcript.scan(txn, ref.number, before, backwards=True), None)
            if found is None:
                return
            before, payload = found
            message = ledger.transcript.message(txn, ref.number, before, payload)
        yield message
