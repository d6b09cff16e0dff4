"""A session's records and the indexes over them, kept together inside one transaction.

Where an import's sessions come from: what is here already is known by its source and its content.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from oblix.v1 import messages_pb2, sessions_pb2

from oblixd.errors import AlreadyExistsError, DataLossError, NotFoundError
from oblixd.sessions.storage.changes import ChangeLog
from oblixd.sessions.storage.index import SessionIndex, labels_of
from oblixd.sessions.storage.keys import SessionKey, timestamp
from oblixd.sessions.storage.schema import NUMBER_BYTES, Tables, number_key
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

_HASH_BYTES = 32
SHARED_SESSIONS, SHARED_BYTES = 512, 4096
"""So many sessions that were told last are held ready, of those whose records have at most so many bytes."""


class _FramedHash:
    """A hash over messages, each with its length."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=_HASH_BYTES)

    def add(self, message: messages_pb2.Message) -> None:
        """Add the next message."""
        self._add(message.SerializeToString(deterministic=True))

    def digest(self) -> bytes:
        """Return the hash of what was added."""
        return self._hash.digest()

    def _add(self, content: bytes) -> None:
        self._hash.update(len(content).to_bytes(8, "big") + content)


class ContentHash(_FramedHash):
    """A hash over title, metadata, context and messages as they were sent."""

    def __init__(self, session: sessions_pb2.Session) -> None:
        super().__init__()
        content = sessions_pb2.Session(
            title=session.title, metadata=session.metadata, context=session.context
        )
        self._add(content.SerializeToString(deterministic=True))


class ChainHash(_FramedHash):
    """A hash over who says what in messages, told after any of them.

    Times, usage and models are left out: some sources tell them later.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        """How many messages were added."""

    def add(self, message: messages_pb2.Message) -> None:
        """Add the next message."""
        super().add(messages_pb2.Message(role=message.role, parts=message.parts))
        self.count += 1


def latest_key(source_id: str) -> bytes:
    """Under what all sessions are found that imports made of a source, whatever it said."""
    return blake2b(b"source " + source_id.encode(), digest_size=_HASH_BYTES).digest()


def source_key(header: records.SessionRecord) -> bytes:
    """Under what an import's session is found: its source's id and its content."""
    return blake2b(header.source_hash + header.source_id.encode(), digest_size=_HASH_BYTES).digest()


def source_keys(header: records.SessionRecord) -> list[bytes]:
    """Under what a session is found by its source, if an import made it."""
    if not header.source_id:
        return []
    return [source_key(header), *([latest_key(header.source_id)] if header.source_chain else [])]


NEXT_NUMBER = b"next_session_number"
"""The counter that holds the number of the next session."""


@dataclass(slots=True)
class Entry:
    """One session inside a transaction: its number and its two records."""

    number: int
    header: records.SessionRecord
    progress: records.ProgressRecord

    @property
    def ref(self) -> SessionKey:
        """Which session this is."""
        return SessionKey(self.number, self.header.id)

    def session(self) -> sessions_pb2.Session:
        """Return the session as the contract tells it."""
        header, progress = self.header, self.progress
        session = sessions_pb2.Session(
            id=header.id,
            title=header.title,
            create_time=timestamp(header.create_us),
            update_time=timestamp(progress.update_us),
            etag=f"{self.number:x}-{header.version:x}",
            metadata=header.metadata,
            context=header.context,
            local_only=header.local_only,
            archived=header.archived,
            parent_session_id=header.parent_session_id,
            message_count=progress.message_count,
            running_request_id=progress.running.request_id,
            parent_sequence=header.parent_sequence,
            source_id=header.source_id,
            routing_policy=header.routing_policy,
        )
        if header.HasField("retention"):
            session.retention.days = header.retention.days
            session.retention.action = sessions_pb2.RetentionAction.ValueType(header.retention.action)
        return session


class Headers:
    """What may be done to sessions; every method is one step inside the caller's transaction."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.partitions = SessionIndex(tables)
        self.change_log = ChangeLog(tables)
        # What it is called with is all that a session is told from: its number, and both records as they are
        # stored. So nothing that is found is out of date, whoever writes, and its checksums hold: they were
        # checked over the same bytes.
        self._shared_session = lru_cache(maxsize=SHARED_SESSIONS)(self._session)

    def find(self, txn: Transaction, session_id: str) -> SessionKey | None:
        """Return the session of an id, or None."""
        found = self.tables.ids.get(txn, session_id.encode())
        return None if found is None else SessionKey(int.from_bytes(found, "big"), session_id)

    def ref(self, txn: Transaction, session_id: str) -> SessionKey:
        """Return the session of an id; NotFoundError where there is none."""
        found = self.find(txn, session_id)
        if found is None:
            raise not_found(session_id)
        return found

    def progress(self, txn: Transaction, ref: SessionKey) -> records.ProgressRecord:
        """Return what messages change; NotFoundError where the session was deleted."""
        return records.ProgressRecord.FromString(self._progress(txn, ref))

    def session(self, txn: Transaction, ref: SessionKey) -> sessions_pb2.Session:
        """Return the session as the contract tells it, as `Entry.session`. It is shared: do not change it."""
        key = number_key(ref.number)
        progress = self.tables.progress.sealed_value(txn, key)
        if progress is None:
            raise self._why_gone(txn, ref)
        header = self.tables.sessions.sealed_value(txn, key)
        if header is None:
            raise self.tables.sessions.missing_error(key)
        is_small = len(header) + len(progress) <= SHARED_BYTES
        return (self._shared_session if is_small else self._session)(ref.number, header, progress)

    def forget_shared(self) -> None:
        """Keep no session in memory: one was removed, and nothing of it is to stay."""
        self._shared_session.cache_clear()

    def _session(self, number: int, header: bytes, progress: bytes) -> sessions_pb2.Session:
        """Return a session from its records as they are stored. DataLossError where they are damaged."""
        key = number_key(number)
        read = records.ProgressRecord.FromString(self.tables.progress.unseal(key, progress))
        return Entry(number, self._whole_header(key, header), read).session()

    def _progress(self, txn: Transaction, ref: SessionKey) -> bytes:
        payload = self.tables.progress.get(txn, number_key(ref.number))
        if payload is None:
            raise self._why_gone(txn, ref)
        return payload

    def _why_gone(self, txn: Transaction, ref: SessionKey) -> NotFoundError | DataLossError:
        """Say why a header is gone: a session that is still found has lost its record."""
        if self.tables.ids.get(txn, ref.id.encode()) == number_key(ref.number):
            return self.tables.progress.missing_error(number_key(ref.number))
        return not_found(ref.id)

    def entry(self, txn: Transaction, ref: SessionKey) -> Entry:
        """Both records; NotFoundError where the session was deleted."""
        progress = self.progress(txn, ref)
        return Entry(ref.number, self._header(txn, ref.number), progress)

    def entry_numbered(self, txn: Transaction, number: int) -> Entry:
        """Both records of a session that an index names: it must be there."""
        header = self._header(txn, number)
        return Entry(number, header, self.progress(txn, SessionKey(number, header.id)))

    def find_import(self, txn: Transaction, header: records.SessionRecord) -> Entry | None:
        """Return the session that an import made of the same source and content, or None."""
        if not header.source_id:
            return None
        for key, _ in self.tables.sources.scan(txn, source_key(header)):
            if self.tables.progress.get(txn, key[-NUMBER_BYTES:]) is not None:
                return self.entry_numbered(txn, int.from_bytes(key[-NUMBER_BYTES:], "big"))
        return None

    def find_latest_import(self, txn: Transaction, source_id: str) -> Entry | None:
        """Return the session that the last import made of a source, or None."""
        found = [key for key, _ in self.tables.sources.scan(txn, latest_key(source_id))]
        return self.entry_numbered(txn, int.from_bytes(found[-1][-NUMBER_BYTES:], "big")) if found else None

    def grown(self, txn: Transaction, entry: Entry, source: records.SessionRecord, update_us: int) -> None:
        """Write an entry to which messages of its source were added. `source` says what it tells now."""
        self._take_source(txn, entry)
        entry.header.source_hash = source.source_hash
        entry.header.source_chain = source.source_chain
        entry.header.source_sequence = source.source_sequence
        entry.header.source_chain_before = source.source_chain_before
        self._put_source(txn, entry)
        self._put_header(txn, entry)
        self.touch(txn, entry.ref, entry.progress, update_us)

    def _header(self, txn: Transaction, number: int) -> records.SessionRecord:
        key = number_key(number)
        sealed = self.tables.sessions.sealed_value(txn, key)
        if sealed is None:
            raise self.tables.sessions.missing_error(key)
        return self._whole_header(key, sealed)

    def _whole_header(self, key: bytes, sealed: bytes) -> records.SessionRecord:
        header = records.SessionRecord.FromString(self.tables.sessions.unseal(key, sealed))
        if header.is_lost:
            raise self.tables.sessions.missing_error(key)
        return header

    def new_number(self, txn: Transaction) -> int:
        """Return a number that no session ever had."""
        counters = self.tables.counters
        number = int.from_bytes(counters.get(txn, NEXT_NUMBER) or b"\x01", "big")
        counters.put(txn, NEXT_NUMBER, number_key(number + 1))
        return number

    def publish(self, txn: Transaction, entry: Entry) -> None:
        """Make a session seen. AlreadyExistsError where its id is taken."""
        self.check_free(txn, entry.header.id)
        self.tables.garbage.delete(txn, number_key(entry.number))
        self._label(entry)
        entry.header.version += 1
        self.show(txn, entry)

    def check_free(self, txn: Transaction, session_id: str) -> None:
        """AlreadyExistsError where a session has the id, also a deleted one that can be brought back."""
        if self.tables.ids.get(txn, session_id.encode()) is not None:
            raise taken_id(session_id)
        if self.tables.deleted_ids.get(txn, session_id.encode()) is not None:
            raise id_of_deleted_error(session_id)

    def show(self, txn: Transaction, entry: Entry) -> None:
        """Let a session be found by everything that finds one, and write its records as they are."""
        tables, key = self.tables, number_key(entry.number)
        tables.ids.put(txn, entry.header.id.encode(), key)
        self._put_source(txn, entry)
        self._index_retention(txn, entry)
        self.partitions.put(txn, entry.ref, entry.progress)
        self._put_header(txn, entry)
        self.put_progress(txn, entry.ref, entry.progress)
        self.change_log.note(txn, entry.ref)

    def hide(self, txn: Transaction, entry: Entry) -> None:
        """Let a session be found by nothing; its messages stay. The opposite of `show`."""
        self._take_source(txn, entry)
        self.remove(txn, entry.ref, entry.progress)

    def put_progress(self, txn: Transaction, ref: SessionKey, progress: records.ProgressRecord) -> None:
        """Write the progress record, leaving the indexes alone."""
        self.tables.progress.put(txn, number_key(ref.number), progress.SerializeToString())

    def touch(
        self, txn: Transaction, ref: SessionKey, progress: records.ProgressRecord, update_us: int
    ) -> None:
        """Move the session to its new place in the order, and write the progress record."""
        self.partitions.move(txn, ref, progress, update_us)
        self.put_progress(txn, ref, progress)
        self.change_log.note(txn, ref)

    def rewrite(self, txn: Transaction, entry: Entry, update_us: int) -> None:
        """Write a changed header, and the indexes anew."""
        ref, progress = entry.ref, entry.progress
        self.partitions.take(txn, ref, progress)
        before, was_archived = progress.labels, progress.archived
        progress.update_us = update_us
        self._label(entry)
        self.partitions.put(txn, ref, progress)
        self._index_retention(txn, entry)
        entry.header.version += 1
        self._put_header(txn, entry)
        self.put_progress(txn, ref, progress)
        hidden = not was_archived and (progress.archived or before != progress.labels)
        self.change_log.note(txn, ref, before if hidden else None)

    def remove(self, txn: Transaction, ref: SessionKey, progress: records.ProgressRecord) -> None:
        """Make a session unseen at once, also one whose header is damaged. What it was is not kept."""
        tables, key = self.tables, number_key(ref.number)
        self.partitions.take(txn, ref, progress)
        tables.ids.delete(txn, ref.id.encode())
        for table in (tables.sessions, tables.progress, tables.running, tables.retentions):
            table.delete(txn, key)
        self.change_log.note(txn, ref, None if progress.archived else progress.labels)

    def _put_header(self, txn: Transaction, entry: Entry) -> None:
        self.tables.sessions.put(txn, number_key(entry.number), entry.header.SerializeToString())

    def _put_source(self, txn: Transaction, entry: Entry) -> None:
        for key in source_keys(entry.header):
            self.tables.sources.put(txn, key + number_key(entry.number), b"")

    def _take_source(self, txn: Transaction, entry: Entry) -> None:
        for key in source_keys(entry.header):
            self.tables.sources.delete(txn, key + number_key(entry.number))

    def _label(self, entry: Entry) -> None:
        entry.progress.labels = b"".join(labels_of(entry.header.metadata))
        entry.progress.archived = entry.header.archived

    def _index_retention(self, txn: Transaction, entry: Entry) -> None:
        key = number_key(entry.number)
        if entry.header.HasField("retention"):
            self.tables.retentions.put(txn, key, b"")
        else:
            self.tables.retentions.delete(txn, key)


def not_found(session_id: str) -> NotFoundError:
    """Return the error for a session that is not there."""
    return NotFoundError(
        "SESSION_NOT_FOUND",
        f"There is no session {session_id}. List the sessions to see which there are.",
        session_id=session_id,
    )


def taken_id(session_id: str) -> AlreadyExistsError:
    """Return the error for an id that another session has."""
    return AlreadyExistsError(
        "SESSION_EXISTS",
        f"There is a session {session_id} already. Use that one, or choose another id.",
        session_id=session_id,
    )


def id_of_deleted_error(session_id: str) -> AlreadyExistsError:
    """Return the error for an id that a deleted session still has."""
    return AlreadyExistsError(
        "SESSION_DELETED",
        f"Session {session_id} was deleted and can still be brought back: undelete it, "
        "purge it to use its id for a new session, or choose another id.",
        session_id=session_id,
    )
