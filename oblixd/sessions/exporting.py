"""Exports: sessions as they stand, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from oblix.v1 import sessions_pb2 as pb

from oblixd.sessions.catalog import Ref
from oblixd.sessions.ledger import Ledger
from oblixd.sessions.reading import blocks
from oblixd.sessions.validation import check_ids


def export_sessions(ledger: Ledger, session_ids: Sequence[str]) -> AsyncIterator[pb.ExportSessionsResponse]:
    """Checks every id, then streams. See `Sessions.export`."""
    return _export(ledger, [ledger.ref(session_id) for session_id in check_ids(session_ids)])


async def _export(ledger: Ledger, refs: Sequence[Ref]) -> AsyncIterator[pb.ExportSessionsResponse]:
    for ref in refs:
        with ledger.store.read() as txn:
            entry = ledger.catalog.entry(txn, ref)
        yield pb.ExportSessionsResponse(session=entry.session())
        for block in blocks(ledger, entry):
            with ledger.store.read() as txn:
                messages = [
                    ledger.transcript.message(txn, ref.number, sequence, payload)
                    for sequence, payload in block
                ]
            yield pb.ExportSessionsResponse(messages=pb.MessageBatch(messages=messages))
            # A fast reader must not keep the event loop from everybody else.
            await asyncio.sleep(0)
