"""Copies of a session."""

from __future__ import annotations

from oblix.v1.sessions_pb2 import Session

from oblixd.sessions.catalog import Entry, not_found
from oblixd.sessions.drafts import Draft, copied_header
from oblixd.sessions.ledger import Ledger
from oblixd.sessions.reading import blocks
from oblixd.sessions.validation import check_title


async def copy(ledger: Ledger, session_id: str, title: str | None) -> Session:
    """Copies the messages that are there now. See `Sessions.copy`."""
    entry = ledger.entry(session_id)
    if title is not None:
        check_title(title, "title")
    with Draft(ledger) as draft:
        for block in blocks(ledger, entry):
            for sequence, payload in block:
                await draft.add(_as_it_stands(ledger, entry, sequence, payload))
        now = ledger.clock()
        return await draft.publish(copied_header(entry.header, now, title), now)


def _as_it_stands(ledger: Ledger, entry: Entry, sequence: int, payload: bytes) -> bytes:
    # Only the running turn's answer can be unfinished; all other bytes move unread.
    if sequence != entry.progress.running.answer_sequence:
        return payload
    with ledger.read(entry.ref) as txn:
        record = ledger.transcript.settled(txn, entry.number, sequence)
    if record is None:
        raise not_found(entry.header.id)
    return record.SerializeToString()
