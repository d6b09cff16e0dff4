"""Whole sessions, read in blocks: each block is one short read."""

from __future__ import annotations

from collections.abc import Iterator

from oblixd.sessions.catalog import Entry
from oblixd.sessions.ledger import Ledger

BLOCK_MESSAGES = 500
BLOCK_BYTES = 2**20
"""Where a block ends, so that the event loop is soon free again. A message alone may be larger."""


def blocks(ledger: Ledger, entry: Entry, end: int = 0) -> Iterator[list[tuple[int, bytes]]]:
    """Sequences and serialised records of the messages that were there when `entry` was read.

    `end`: only those before this sequence. NotFoundError where the session is deleted in between,
    DataLossError where a record is damaged or missing.
    """
    at, end = 1, end or entry.progress.next_sequence
    while True:
        block = _block(ledger, entry, at, end)
        if not block:
            return
        at = block[-1][0] + 1
        yield block


def _block(ledger: Ledger, entry: Entry, at: int, end: int) -> list[tuple[int, bytes]]:
    block: list[tuple[int, bytes]] = []
    room = BLOCK_BYTES
    with ledger.read(entry.ref) as txn:
        progress = ledger.catalog.progress(txn, entry.ref)
        for sequence, payload in ledger.transcript.scan(txn, entry.number, progress, at, end):
            room -= len(payload)
            if len(block) == BLOCK_MESSAGES or (block and room < 0):
                break
            block.append((sequence, payload))
    return block
