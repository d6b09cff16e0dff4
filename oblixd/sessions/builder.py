"""Sessions that are built unseen, in small transactions, and published by one.

Copies of a session.

Merges of sessions: one conversation out of several, in order of time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from types import TracebackType
from typing import Self

from google.protobuf.struct_pb2 import Struct
from oblix.v1.sessions_pb2 import Session

from oblixd.errors import invalid_field
from oblixd.sessions.deletion import sweep_some
from oblixd.sessions.storage.db import SessionDb, blocks, name_damage
from oblixd.sessions.storage.headers import Entry, not_found
from oblixd.sessions.storage.keys import UniqueIds, new_id, pack
from oblixd.sessions.storage.schema import number_key
from oblixd.sessions.validation import (
    MAX_TITLE_CHARACTERS,
    check_ids,
    check_sequence,
    check_struct,
    check_title,
)
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

CHUNK_MESSAGES = 500
CHUNK_BYTES = 2**20
"""What one transaction writes at most (a single message may be larger): other writers get in between."""


class SessionBuilder:
    """A session in the making. Left without being published, what was written of it is swept.

    Until then its number stands in the garbage, so that a crash leaves nothing behind.
    """

    def __init__(self, db: SessionDb) -> None:
        self._db = db
        self._number = 0
        self._progress = records.ProgressRecord(next_sequence=1)
        self._chunk: list[bytes] = []
        self._chunk_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.drop()

    @property
    def message_count(self) -> int:
        """How many messages were added."""
        return self._progress.message_count + len(self._chunk)

    async def add(self, payload: bytes) -> None:
        """Add a serialised record as the next message."""
        self._chunk.append(payload)
        self._chunk_bytes += len(payload)
        if len(self._chunk) >= CHUNK_MESSAGES or self._chunk_bytes >= CHUNK_BYTES:
            await self._flush()

    async def finish(self) -> tuple[int, records.ProgressRecord]:
        """Write what is still in memory. Returns the session's number, and how much it has."""
        if self._chunk:
            await self._flush()
        return self._number, self._progress

    async def publish(
        self,
        header: records.SessionRecord,
        update_us: int,
        also: Callable[[Transaction], object] | None = None,
    ) -> Session:
        """Make the session seen. AlreadyExistsError SESSION_EXISTS where its id is taken.

        `also` is done before, in the same transaction.
        """

        def write(txn: Transaction) -> Session:
            if also is not None:
                also(txn)
            return self._publish(txn, header, update_us)

        return await self._db.store.write(write)

    async def publish_once(self, header: records.SessionRecord, update_us: int) -> tuple[Session, bool]:
        """Publish as `publish`; if the same was imported before, return that session and False."""

        def write(txn: Transaction) -> tuple[Session, bool]:
            found = self._db.headers.find_import(txn, header)
            return (found.session(), False) if found else (self._publish(txn, header, update_us), True)

        session, is_new = await self._db.store.write(write)
        if not is_new:
            self.drop()
        return session, is_new

    def _publish(self, txn: Transaction, header: records.SessionRecord, update_us: int) -> Session:
        number, progress = self._write_chunk(txn)
        progress.update_us = update_us
        entry = Entry(number, records.SessionRecord(), progress)
        entry.header.CopyFrom(header)
        self._db.headers.publish(txn, entry)
        return entry.session()

    def drop(self) -> None:
        """Give up. Harmless after a publication that nobody waited for any more."""

        # The number is looked at when the step runs: a chunk may still be under way now.
        def step(txn: Transaction) -> bool:
            return sweep_some(self._db, self._number, txn)

        self._db.store.write_idle(step)

    async def _flush(self) -> None:
        _, self._progress = await self._db.store.write(self._write_chunk)
        self._chunk, self._chunk_bytes = [], 0

    def _write_chunk(self, txn: Transaction) -> tuple[int, records.ProgressRecord]:
        progress = records.ProgressRecord()
        progress.CopyFrom(self._progress)
        if not self._progress.message_count:
            self._number = self._db.headers.new_number(txn)
            self._db.tables.garbage.put(txn, number_key(self._number), b"")
        self._db.message_table.append(txn, self._number, progress, self._chunk)
        return self._number, progress


def copied_header(
    source: records.SessionRecord, now_us: int, title: str | None, last_sequence: int
) -> records.SessionRecord:
    """Return the header of a copy: a new id, the source as parent, not archived."""
    return records.SessionRecord(
        id=new_id(),
        title=source.title if title is None else title,
        create_us=now_us,
        metadata=source.metadata,
        context=source.context,
        local_only=source.local_only,
        parent_session_id=source.id,
        parent_sequence=last_sequence,
        retention=source.retention if source.HasField("retention") else None,
        routing_policy=source.routing_policy,
    )


async def copy(db: SessionDb, session_id: str, title: str | None, up_to_sequence: int) -> Session:
    """Copy the messages that are there now. See `Sessions.copy`."""
    entry = db.entry(session_id)
    if title is not None:
        check_title(title, "title")
    last = _last_sequence(entry, up_to_sequence)
    copied = 0
    with SessionBuilder(db) as draft:
        for block in blocks(db, entry, last + 1):
            for sequence, payload in block:
                await draft.add(_as_it_stands(db, entry, sequence, payload))
                copied = sequence
        now = db.clock()
        return await draft.publish(copied_header(entry.header, now, title, copied), now)


def _last_sequence(entry: Entry, up_to_sequence: int) -> int:
    check_sequence(up_to_sequence, "up_to_sequence")
    there = entry.progress.next_sequence - 1
    if up_to_sequence > there:
        raise invalid_field(
            "INVALID_SEQUENCE",
            "up_to_sequence",
            f"must be a message of session {entry.header.id}, which has {there}, not {up_to_sequence}.",
            limit=there,
            given=up_to_sequence,
        )
    return up_to_sequence or there


def _as_it_stands(db: SessionDb, entry: Entry, sequence: int, payload: bytes) -> bytes:
    # Only the running turn's answer can be unfinished; all other bytes move unread.
    if sequence != entry.progress.running.answer_sequence:
        return payload
    with db.read(entry.ref) as txn:
        record = db.message_table.interrupted_message(txn, entry.number, sequence)
    if record is None:
        raise not_found(entry.header.id)
    return record.SerializeToString()


MessageAtTime = tuple[int, Entry, int]
"""When a message was said, its session, its sequence."""

MERGE_BATCH = 200
"""How many messages are read in one go; the event loop waits for no more."""


async def merge(db: SessionDb, session_ids: Sequence[str], title: str | None) -> Session:
    """Merge the messages that are there now. See `Sessions.merge`."""
    ids = check_ids(session_ids)
    sources = [db.entry(session_id) for session_id in ids]
    header = _header(db, sources, title)
    # It compares only what comes next in each source: a clock that stepped back reorders nothing.
    moments = heapq.merge(*(_moments(db, source) for source in sources), key=itemgetter(0))
    unique = UniqueIds()
    with SessionBuilder(db) as draft:
        while some := list(islice(moments, MERGE_BATCH)):
            for payload in _payloads(db, some, unique):
                await draft.add(payload)
        return await draft.publish(header, header.create_us)


def _moments(db: SessionDb, source: Entry) -> Iterator[MessageAtTime]:
    for block in blocks(db, source):
        for sequence, payload in block:
            with name_damage(source.header.id):
                create_us = records.MessageRecord.FromString(payload).create_us
            yield create_us, source, sequence


def _payloads(db: SessionDb, moments: list[MessageAtTime], unique: UniqueIds) -> Iterator[bytes]:
    with db.store.read() as txn:
        found = [_settled_record(db, txn, source, sequence) for _, source, sequence in moments]
    for (_, source, _), record in zip(moments, found, strict=True):
        # What came out of a merge before keeps the session that it was said in.
        record.source_session_id = record.source_session_id or pack(source.header.id)
        record.id = unique.claim(record.id)
        yield record.SerializeToString()


def _settled_record(db: SessionDb, txn: Transaction, source: Entry, sequence: int) -> records.MessageRecord:
    with name_damage(source.header.id):
        record = db.message_table.interrupted_message(txn, source.number, sequence)
    if record is None:
        raise not_found(source.header.id)
    return record


def _header(db: SessionDb, sources: list[Entry], title: str | None) -> records.SessionRecord:
    if title is None:
        title = f"Merged: {sources[0].header.title}"[:MAX_TITLE_CHARACTERS]
    check_title(title, "title")
    header = records.SessionRecord(
        id=new_id(),
        title=title,
        create_us=db.clock(),
        local_only=any(source.header.local_only for source in sources),
        routing_policy=_common_value({source.header.routing_policy for source in sources}),
    )
    for source in sources:
        _unite(header.metadata, source.header.metadata)
        _unite(header.context, source.header.context)
    check_struct(header.metadata, "metadata (united)")
    check_struct(header.context, "context (united)")
    return header


def _common_value(names: set[str]) -> str:
    """Return the one that all have, else none: nobody chose one for what came of different ones."""
    return names.pop() if len(names) == 1 else ""


def _unite(there: Struct, more: Struct) -> None:
    """Merge the values of a key: the one that is there stays."""
    for key, value in more.fields.items():
        if key not in there.fields:
            there.fields[key].CopyFrom(value)
