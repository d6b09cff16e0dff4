"""Imports, exports and backups of sessions.

An import takes each session whole or not at all, an export writes them one after another, and a backup
is the whole store as it is at one moment, as the pieces of a file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Self

from oblix.v1 import messages_pb2, sessions_pb2
from oblix.v1.messages_pb2 import Message
from oblix.v1.sessions_pb2 import BackupStoreResponse

from oblixd.errors import AlreadyExistsError, InvalidArgumentError, invalid_field
from oblixd.sessions.builder import SessionBuilder
from oblixd.sessions.growth import Growth, deleted_sources
from oblixd.sessions.storage.db import SessionDb, blocks
from oblixd.sessions.storage.headers import ContentHash, Entry
from oblixd.sessions.storage.keys import SessionKey, UniqueIds, new_id, pack, timestamp, timestamp_us
from oblixd.sessions.storage.records import message_record
from oblixd.sessions.storage.retention_rules import retention_record
from oblixd.sessions.validation import (
    check_count,
    check_ids,
    check_message,
    check_provenance,
    check_routing_policy,
    check_sequence,
    check_session_id,
    check_source_id,
    check_struct,
    check_time,
    check_title,
    is_empty_time,
)
from oblixd.store import Store
from oblixd.store.v1 import records_pb2 as records

Refusal = InvalidArgumentError | AlreadyExistsError

MAX_BATCH_BYTES = 4 * 2**20
ALREADY_IMPORTED = "ALREADY_IMPORTED"
IMPORT_DELETED = "IMPORT_DELETED"


async def import_sessions(
    db: SessionDb, items: AsyncIterator[sessions_pb2.ImportSessionsRequest]
) -> AsyncGenerator[sessions_pb2.ImportSessionsResponse, None]:
    """Answers one result for each header, in order, then the totals. See `Sessions.import_`."""
    with _Import(db) as run:
        async for item in items:
            if item.HasField("header"):
                if run.incoming is not None:
                    yield await run.close(run.incoming)
                run.open(item.header)
            else:
                await run.add(item.messages)
        if run.incoming is not None:
            yield await run.close(run.incoming)
    yield sessions_pb2.ImportSessionsResponse(totals=run.totals)


class _Import:
    """One stream of sessions. Left by an error, the session that was coming in is dropped."""

    def __init__(self, db: SessionDb) -> None:
        self._db = db
        self._header_count = 0
        self._deleted_sources: frozenset[str] | None = None
        self.incoming: _Incoming | None = None
        self.totals = sessions_pb2.ImportTotals()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.incoming is not None:
            self.incoming.drop()

    def open(self, header: sessions_pb2.ImportHeader) -> None:
        """Take the next session."""
        if header.grow and self._deleted_sources is None:
            self._deleted_sources = deleted_sources(self._db)
        self.incoming = _Incoming(self._db, header, self._deleted_sources or frozenset())
        self._header_count += 1

    async def add(self, batch: sessions_pb2.MessageBatch) -> None:
        """Messages of the session that is open."""
        if self.incoming is None:
            raise invalid_field("HEADER_MISSING", "item", "must be a header before any messages.")
        await self.incoming.add(batch)

    async def close(self, incoming: _Incoming) -> sessions_pb2.ImportSessionsResponse:
        """Publish the session that is open, or say why not, and count it."""
        result = await incoming.close()
        self.incoming = None
        result.index = self._header_count - 1
        if result.added_count:
            self.totals.grown_count += 1
            self.totals.message_count += result.added_count
        elif not result.reason:
            self.totals.imported_count += 1
            self.totals.message_count += result.session.message_count
        elif result.reason in (ALREADY_IMPORTED, IMPORT_DELETED):
            self.totals.skipped_count += 1
        else:
            self.totals.refused_count += 1
        return sessions_pb2.ImportSessionsResponse(result=result)


class _Incoming:
    """One session that is coming in. After a refusal the rest of it is passed over."""

    def __init__(self, db: SessionDb, header: sessions_pb2.ImportHeader, deleted: frozenset[str]) -> None:
        self._db = db
        self._growth = Growth(db, header.session.source_id)
        self._grow = header.grow and header.skip_existing
        self._deleted_sources = deleted
        self._draft = SessionBuilder(db)
        self._unique = UniqueIds()
        self._hash = ContentHash(header.session)
        self._skip_existing = header.skip_existing
        self._now_us = db.clock()
        self._header = records.SessionRecord()
        self._update_us = self._now_us
        self._refusal: Refusal | None = None
        self._empty_times = 0
        try:
            self._open(header.session, header.keep_id)
            self._take_parent(header.parent_source_id)
        except (InvalidArgumentError, AlreadyExistsError) as error:
            self._refusal = error

    async def add(self, batch: sessions_pb2.MessageBatch) -> None:
        """Take in the next messages."""
        if self._refusal is not None:
            return
        try:
            _check_batch(batch)
            for message in batch.messages:
                self._hash.add(message)
                self._growth.add(message)
                record = self._record(message, f"messages[{self._draft.message_count}]")
                await self._draft.add(record.SerializeToString())
        except InvalidArgumentError as error:
            self._refuse(error)

    async def close(self) -> sessions_pb2.ImportResult:
        """Publish the session, or say why not."""
        if self._refusal is None:
            try:
                return self._note_times(await self._publish())
            except AlreadyExistsError as error:
                self._refuse(error)
                return sessions_pb2.ImportResult(reason=error.reason, detail=error.message)
        return sessions_pb2.ImportResult(reason=self._refusal.reason, detail=self._refusal.message)

    def _note_times(self, result: sessions_pb2.ImportResult) -> sessions_pb2.ImportResult:
        """Tell what may be the mistake of a stub. A file may be right in it: nothing is changed."""
        if self._empty_times and not result.reason:
            note = f"{self._empty_times:,} times are set and empty: they are taken as 1970-01-01T00:00:00Z."
            result.detail = f"{result.detail} {note}".strip()
        return result

    async def _publish(self) -> sessions_pb2.ImportResult:
        if self._header.source_id:
            self._header.source_hash = self._hash.digest()
            self._growth.sign(self._header)
        if not self._skip_existing:
            return sessions_pb2.ImportResult(session=await self._draft.publish(self._header, self._update_us))
        if self._grow and self._growth.former_entry is not None:
            return await self._publish_grown(self._growth.former_entry)
        if self._grow and self._header.source_id in self._deleted_sources:
            self._draft.drop()
            detail = "It was imported before and deleted here. Undelete it, or import it again."
            return sessions_pb2.ImportResult(reason=IMPORT_DELETED, detail=detail)
        session, is_new = await self._draft.publish_once(self._header, self._update_us)
        return sessions_pb2.ImportResult(session=session) if is_new else _here_already(session)

    async def _publish_grown(self, before: Entry) -> sessions_pb2.ImportResult:
        """Bring the earlier session up to date, or make one beside it."""
        if self._growth.is_changed:
            session = await self._draft.publish(self._header, self._update_us, self._growth.retire)
            detail = f"Its source tells it differently than before: it replaces session {before.header.id}."
            return sessions_pb2.ImportResult(session=session, detail=detail)
        if not self._growth.new_count:
            self._draft.drop()
            return _here_already(before.session())
        grown = await self._growth.pour(self._draft, self._header, self._update_us)
        if grown is not None:
            return sessions_pb2.ImportResult(session=grown, added_count=self._growth.new_count)
        self._header.parent_session_id = before.header.id
        self._header.parent_sequence = before.header.source_sequence
        session = await self._draft.publish(self._header, self._update_us)
        detail = f"Session {before.header.id} was continued here as well: this is a fork of it."
        return sessions_pb2.ImportResult(session=session, detail=detail)

    def _take_parent(self, source_id: str) -> None:
        check_source_id(source_id, "parent_source_id")
        if source_id:
            with self._db.store.read() as txn:
                parent = self._db.headers.find_latest_import(txn, source_id)
            if parent is not None:
                self._header.parent_session_id = parent.header.id

    def drop(self) -> None:
        """Give up on it."""
        self._draft.drop()

    def _refuse(self, error: Refusal) -> None:
        self._refusal = error
        self._draft.drop()

    def _open(self, session: sessions_pb2.Session, keep_id: bool) -> None:
        _check_header(session)
        self._empty_times += is_empty_time(session)
        if keep_id:
            self._check_id(session)
        self._header = records.SessionRecord(
            id=session.id if keep_id else new_id(),
            title=session.title,
            create_us=timestamp_us(session.create_time) if session.HasField("create_time") else self._now_us,
            metadata=session.metadata,
            context=session.context,
            local_only=session.local_only,
            archived=session.archived,
            parent_session_id=session.parent_session_id,
            parent_sequence=session.parent_sequence,
            retention=retention_record(session.retention) if session.HasField("retention") else None,
            source_id=session.source_id,
            routing_policy=session.routing_policy,
        )
        if session.HasField("update_time"):
            self._update_us = timestamp_us(session.update_time)

    def _check_id(self, session: sessions_pb2.Session) -> None:
        check_session_id(session.id, "session.id")
        # What may be here already is known at its end: it is skipped then, not refused now.
        if not (self._skip_existing and session.source_id):
            with self._db.store.read() as txn:
                self._db.headers.check_free(txn, session.id)

    def _record(self, message: messages_pb2.Message, field: str) -> records.MessageRecord:
        self._empty_times += is_empty_time(message)
        if not message.HasField("create_time"):
            message.create_time.CopyFrom(timestamp(self._now_us))
        if message.status == messages_pb2.MESSAGE_STATUS_UNSPECIFIED:
            message.status = messages_pb2.MESSAGE_STATUS_COMPLETE
        # It was exported in the middle of its turn; here nobody writes it on.
        if message.status == messages_pb2.MESSAGE_STATUS_STREAMING:
            message.status = messages_pb2.MESSAGE_STATUS_INTERRUPTED
        check_message(message, field)
        check_provenance(message, field)
        record = message_record(message)
        record.id = self._unique.claim(pack(message.id))
        return record


def _here_already(session: sessions_pb2.Session) -> sessions_pb2.ImportResult:
    detail = f"It is here already, as session {session.id}, with the same content."
    return sessions_pb2.ImportResult(session=session, reason=ALREADY_IMPORTED, detail=detail)


def _check_header(session: sessions_pb2.Session) -> None:
    check_title(session.title)
    check_routing_policy(session.routing_policy)
    check_struct(session.metadata, "session.metadata")
    check_struct(session.context, "session.context")
    for field in ("create_time", "update_time"):
        if session.HasField(field):
            check_time(getattr(session, field), f"session.{field}")
    check_sequence(session.parent_sequence, "session.parent_sequence")
    check_source_id(session.source_id, "session.source_id")
    if session.parent_session_id:
        check_session_id(session.parent_session_id, "session.parent_session_id")


def _check_batch(batch: sessions_pb2.MessageBatch) -> None:
    check_count(len(batch.messages), "messages", least=0)
    size = batch.ByteSize()
    # A message alone may be as large as any.
    if len(batch.messages) > 1 and size > MAX_BATCH_BYTES:
        raise invalid_field(
            "BATCH_TOO_LARGE",
            "messages",
            f"must be at most {MAX_BATCH_BYTES:,} bytes (4 MiB) a step, not {size:,}.",
            limit=MAX_BATCH_BYTES,
            given=size,
        )


MAX_EXPORT_BATCH_BYTES = 4 * 2**20 - 2**16
"""The contract's 4 MiB, less room for the framing of 1,000 messages."""


def export_sessions(
    db: SessionDb, session_ids: Sequence[str]
) -> AsyncGenerator[sessions_pb2.ExportSessionsResponse, None]:
    """Check every id, then streams. See `Sessions.export`."""
    return _export(db, [db.ref(session_id) for session_id in check_ids(session_ids)])


async def _export(
    db: SessionDb, refs: Sequence[SessionKey]
) -> AsyncGenerator[sessions_pb2.ExportSessionsResponse, None]:
    for ref in refs:
        with db.read(ref) as txn:
            entry = db.headers.entry(txn, ref)
        yield sessions_pb2.ExportSessionsResponse(session=entry.session())
        for block in blocks(db, entry):
            with db.read(ref) as txn:
                messages = [
                    db.message_table.message(txn, ref.number, sequence, payload)
                    for sequence, payload in block
                ]
            for batch in _batches(messages):
                yield sessions_pb2.ExportSessionsResponse(messages=sessions_pb2.MessageBatch(messages=batch))
            # A fast reader must not keep the event loop from everybody else.
            await asyncio.sleep(0)


def _batches(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Cuts where a batch would pass its limit; a running answer is larger than its record in the block."""
    batch: list[Message] = []
    room = MAX_EXPORT_BATCH_BYTES
    for message in messages:
        size = message.ByteSize()
        if batch and size > room:
            yield batch
            batch, room = [], MAX_EXPORT_BATCH_BYTES
        batch.append(message)
        room -= size
    yield batch


async def backup(store: Store) -> AsyncGenerator[BackupStoreResponse, None]:
    """See `Sessions.backup`."""
    copy = await store.backup()
    size = copy.size
    async with aclosing(copy.pieces()) as pieces:
        async for piece in pieces:
            yield BackupStoreResponse(data=piece, estimated_size=size)
            size = 0
