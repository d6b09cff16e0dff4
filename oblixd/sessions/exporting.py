"""Exports: sessions as they stand, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence

from oblix.v1 import sessions_pb2 as pb
from oblix.v1.messages_pb2 import Message

from oblixd.sessions.ledger import Ledger
from oblixd.sessions.reading import blocks
from oblixd.sessions.refs import Ref
from oblixd.sessions.validation import check_ids

MAX_BATCH_BYTES = 4 * 2**20 - 2**16
"""The contract's 4 MiB, less room for the framing of 1,000 messages."""


def export_sessions(
    ledger: Ledger, session_ids: Sequence[str]
) -> AsyncGenerator[pb.ExportSessionsResponse, None]:
    """Checks every id, then streams. See `Sessions.export`."""
    return _export(ledger, [ledger.ref(session_id) for session_id in check_ids(session_ids)])


async def _export(ledger: Ledger, refs: Sequence[Ref]) -> AsyncGenerator[pb.ExportSessionsResponse, None]:
    for ref in refs:
        with ledger.read(ref) as txn:
            entry = ledger.catalog.entry(txn, ref)
        yield pb.ExportSessionsResponse(session=entry.session())
        for block in blocks(ledger, entry):
            with ledger.read(ref) as txn:
                messages = [
                    ledger.transcript.message(txn, ref.number, sequence, payload)
                    for sequence, payload in block
                ]
            for batch in _batches(messages):
                yield pb.ExportSessionsResponse(messages=pb.MessageBatch(messages=batch))
            # A fast reader must not keep the event loop from everybody else.
            await asyncio.sleep(0)


def _batches(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Cuts where a batch would pass its limit; a running answer is larger than its record in the block."""
    batch: list[Message] = []
    room = MAX_BATCH_BYTES
    for message in messages:
        size = message.ByteSize()
        if batch and size > room:
            yield batch
            batch, room = [], MAX_BATCH_BYTES
        batch.append(message)
        room -= size
    yield batch
