"""Merges of sessions: one conversation out of several, in order of time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import itemgetter

from google.protobuf.struct_pb2 import Struct
from oblix.v1.sessions_pb2 import Session

from oblixd.errors import DataLossError
from oblixd.sessions.catalog import Entry, not_found
from oblixd.sessions.drafts import Draft
from oblixd.sessions.ids import UniqueIds, new_id, pack
from oblixd.sessions.ledger import Ledger, damage_of
from oblixd.sessions.reading import blocks
from oblixd.sessions.structs import check_struct
from oblixd.sessions.validation import MAX_TITLE_CHARACTERS, check_ids, check_title
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

Moment = tuple[int, Entry, int]
"""When a message was said, its session, its sequence."""

MERGED_AT_ONCE = 200
"""How many messages are read in one go; the event loop waits for no more."""


async def merge(ledger: Ledger, session_ids: Sequence[str], title: str | None) -> Session:
    """Merges the messages that are there now. See `Sessions.merge`."""
    ids = check_ids(session_ids)
    sources = [ledger.entry(session_id) for session_id in ids]
    header = _header(ledger, sources, title)
    # It compares only what comes next in each source: a clock that stepped back reorders nothing.
    moments = heapq.merge(*(_moments(ledger, source) for source in sources), key=itemgetter(0))
    unique = UniqueIds()
    with Draft(ledger) as draft:
        while some := list(islice(moments, MERGED_AT_ONCE)):
            for payload in _payloads(ledger, some, unique):
                await draft.add(payload)
        return await draft.publish(header, header.create_us)


def _moments(ledger: Ledger, source: Entry) -> Iterator[Moment]:
    for block in blocks(ledger, source):
        for sequence, payload in block:
            yield records.MessageRecord.FromString(payload).create_us, source, sequence


def _payloads(ledger: Ledger, moments: list[Moment], unique: UniqueIds) -> Iterator[bytes]:
    with ledger.store.read() as txn:
        found = [_settled(ledger, txn, source, sequence) for _, source, sequence in moments]
    for (_, source, _), record in zip(moments, found, strict=True):
        # What came out of a merge before keeps the session that it was said in.
        record.source_session_id = record.source_session_id or pack(source.header.id)
        record.id = unique.claim(record.id)
        yield record.SerializeToString()


def _settled(ledger: Ledger, txn: Transaction, source: Entry, sequence: int) -> records.MessageRecord:
    try:
        record = ledger.transcript.settled(txn, source.number, sequence)
    except DataLossError as error:
        raise damage_of(source.header.id, error) from error
    if record is None:
        raise not_found(source.header.id)
    return record


def _header(ledger: Ledger, sources: list[Entry], title: str | None) -> records.SessionRecord:
    if title is None:
        title = f"Merged: {sources[0].header.title}"[:MAX_TITLE_CHARACTERS]
    check_title(title, "title")
    header = records.SessionRecord(
        id=new_id(),
        title=title,
        create_us=ledger.clock(),
        local_only=any(source.header.local_only for source in sources),
        routing_policy=_agreed({source.header.routing_policy for source in sources}),
    )
    for source in sources:
        _unite(header.metadata, source.header.metadata)
        _unite(header.context, source.header.context)
    check_struct(header.metadata, "metadata (united)")
    check_struct(header.context, "context (united)")
    return header


def _agreed(names: set[str]) -> str:
    """The one that all have, else none: nobody chose one for what came of different ones."""
    return names.pop() if len(names) == 1 else ""


def _unite(there: Struct, more: Struct) -> None:
    """Of two values of a key the one that is there stays."""
    for key, value in more.fields.items():
        if key not in there.fields:
            there.fields[key].CopyFrom(value)
