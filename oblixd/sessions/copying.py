"""Copies of a session."""

from __future__ import annotations

from oblix.v1.sessions_pb2 import Session

from oblixd.sessions.catalog import Entry, not_found
from oblixd.sessions.drafts import Draft, copied_header
from oblixd.sessions.ledger import Ledger
from oblixd.sessions.reading import blocks
from oblixd.sessions.validation import check_sequence, check_title, invalid


async def copy(ledger: Ledger, session_id: str, title: str | None, up_to_sequence: int) -> Session:
    """Copies the messages that are there now. See `Sessions.copy`."""
    entry = ledger.entry(session_id)
    if title is not None:
        check_title(title, "title")
    last = _last(entry, up_to_sequence)
    copied = 0
    with Draft(ledger) as draft:
        for block in blocks(ledger, entry, last + 1):
            for sequence, payload in block:
                await draft.add(_as_it_stands(ledger, entry, sequence, payload))
                copied = sequence
        now = ledger.clock()
        return await draft.publish(copied_header(entry.header, now, title, copied), now)


def _last(entry: Entry, up_to_sequence: int) -> int:
    check_sequence(up_to_sequence, "up_to_sequence")
    there = entry.progress.next_sequence - 1
    if up_to_sequence > there:
        raise invalid(
            "INVALID_SEQUENCE",
            "up_to_sequence",
            f"must be a message of session {entry.header.id}, which has {there}, not {up_to_sequence}.",
            limit=there,
            given=up_to_sequence,
        )
    return up_to_sequence or there


def _as_it_stands(ledger: Ledger, entry: Entry, sequence: int, payload: bytes) -> bytes:
    # Only the running turn's answer can be unfinished; all other bytes move unread.
    if sequence != entry.progress.running.answer_sequence:
        return payload
    with ledger.read(entry.ref) as txn:
        record = ledger.transcript.settled(txn, entry.number, sequence)
    if record is None:
        raise not_found(entry.header.id)
    return record.SerializeToString()
