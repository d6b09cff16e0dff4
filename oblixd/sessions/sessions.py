"""Conversations, as the other rooms see them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from typing import TypeAlias

from google.protobuf.struct_pb2 import Struct
from oblix.v1.messages_pb2 import Message
from oblix.v1.sessions_pb2 import (
    BackupStoreResponse,
    ExportSessionsResponse,
    ImportSessionsRequest,
    ImportSessionsResponse,
    Session,
)

from oblixd.sessions import listing
from oblixd.sessions.backup import backup
from oblixd.sessions.catalog import Entry
from oblixd.sessions.copying import copy
from oblixd.sessions.exporting import export_sessions
from oblixd.sessions.garbage import sweep, sweep_leftovers
from oblixd.sessions.ids import new_id
from oblixd.sessions.importing import import_sessions
from oblixd.sessions.intake import recorded_messages, taken
from oblixd.sessions.ledger import Ledger
from oblixd.sessions.merging import merge
from oblixd.sessions.structs import check_struct
from oblixd.sessions.times import now_us
from oblixd.sessions.turns import Turn, begin, recover
from oblixd.sessions.updates import apply, check_paths
from oblixd.sessions.validation import check_messages, check_title
from oblixd.store import Store, Transaction
from oblixd.store.v1 import records_pb2 as records

Messages: TypeAlias = list[Message]
SessionPage: TypeAlias = tuple[list[Session], str]
MessagePage: TypeAlias = tuple[list[Message], str]


class Sessions:
    """Conversations. Reads are short and synchronous; writes are awaited until they are durable.

    Every method: InvalidArgumentError INVALID_SESSION_ID where an id is malformed,
    NotFoundError SESSION_NOT_FOUND where it is unknown, DataLossError where a record
    is damaged, ResourceExhaustedError where the store or the disk is full. A write is
    carried out also when its caller is cancelled while it waits.
    """

    on_deleted: Callable[[str, str], None]
    """Called with a session's id and its running request's id once it was deleted in the middle of a turn."""

    def __init__(self, store: Store, clock: Callable[[], int] = now_us) -> None:
        self._ledger = Ledger.of(store, clock)
        self.on_deleted = lambda _session_id, _request_id: None

    async def recover(self) -> int:
        """Once after the start, before anything else: ends the turns that the daemon's death cut off.

        Their answers keep what was checkpointed, as INTERRUPTED. Returns how many there were.
        """
        sweep_leftovers(self._ledger)
        return await recover(self._ledger)

    async def create(self, session: Session) -> Session:
        """Makes an empty session of the title, metadata, context and local_only given."""
        check_title(session.title)
        check_struct(session.metadata, "session.metadata")
        check_struct(session.context, "session.context")
        now = self._ledger.clock()

        def write(txn: Transaction) -> Session:
            progress = records.ProgressRecord(update_us=now, next_sequence=1)
            entry = Entry(self._ledger.catalog.new_number(txn), _header(session, now), progress)
            self._ledger.catalog.publish(txn, entry)
            return entry.session()

        return await self._ledger.store.write(write)

    def get(self, session_id: str) -> Session:
        """The header. Reads no messages."""
        return self._ledger.entry(session_id).session()

    def count(self) -> int:
        """How many sessions there are."""
        with self._ledger.store.read() as txn:
            return self._ledger.tables.ids.count(txn)

    def list(self, *, page_size: int, page_token: str, filter: Struct) -> SessionPage:  # noqa: A002  the contract's word
        """A page of headers, newest first, and the token of the next page, empty at the end.

        page_size 0 is 50, more than 1,000 is 1,000. A page is shorter than that where
        it reaches 4 MiB, or where it looked at 2,000 sessions for matches.
        """
        return listing.session_page(self._ledger, page_size, page_token, filter)

    async def update(self, session: Session, paths: Sequence[str]) -> Session:
        """Changes the header of session.id: see UpdateSession in the contract.

        AbortedError ETAG_MISMATCH, FailedPreconditionError LOCAL_ONLY_STAYS.
        """
        check_paths(paths)
        found = self._ledger.entry(session.id, "session.id")
        # Tried here first: what fails in the writer makes it repeat the whole group's work.
        apply(found, session, paths)
        ref = found.ref

        def write(txn: Transaction) -> Session:
            entry = self._ledger.catalog.entry(txn, ref)
            apply(entry, session, paths)
            self._ledger.catalog.rewrite(txn, entry, self._ledger.clock())
            return entry.session()

        return await self._ledger.write(ref, write)

    async def delete(self, session_id: str) -> None:
        """Removes a session; the room of its messages is given back bit by bit.

        A turn that runs is told to `on_deleted`.
        """
        ref = self._ledger.ref(session_id)

        def write(txn: Transaction) -> str:
            progress = self._ledger.catalog.progress(txn, ref)
            self._ledger.catalog.remove(txn, ref, progress)
            return progress.running.request_id

        request_id = await self._ledger.write(ref, write)
        sweep(self._ledger, ref.number)
        if request_id:
            self.on_deleted(session_id, request_id)

    async def append(self, session_id: str, messages: Sequence[Message]) -> Messages:
        """Adds 1 to 1,000 messages, all or none; returns them as they were recorded.

        While a turn runs they come after its answer.
        """
        ref = self._ledger.ref(session_id)
        check_messages(messages)
        now = self._ledger.clock()
        new = taken(messages, now)
        payloads = [record.SerializeToString() for record in new]

        def write(txn: Transaction) -> int:
            progress = self._ledger.catalog.progress(txn, ref)
            first = self._ledger.transcript.append(txn, ref.number, progress, payloads)
            self._ledger.catalog.touch(txn, ref, progress, now)
            return first

        return recorded_messages(new, await self._ledger.write(ref, write))

    def messages(
        self, session_id: str, *, page_size: int, page_token: str, newest_first: bool
    ) -> MessagePage:
        """A page of messages and the token of the next page, empty at the end.

        page_size 0 is 100, more than 1,000 is 1,000; a page ends early at about 4 MiB.
        A running answer is told as far as it was checkpointed.
        """
        ref = self._ledger.ref(session_id)
        return listing.message_page(self._ledger, ref, page_size, page_token, newest_first)

    def history(self, session_id: str, before_sequence: int) -> Iterator[Message]:
        """The messages before a place, newest first, each in a read of its own.

        NotFoundError also in the middle, where the session is deleted meanwhile.
        """
        return listing.history(self._ledger, self._ledger.ref(session_id), before_sequence)

    async def begin_turn(self, session_id: str, request_id: str, input: Sequence[Message]) -> Turn:  # noqa: A002  the contract's word
        """Records the question and keeps the place after it for the answer, in one transaction.

        FailedPreconditionError TURN_RUNNING where a turn of this session runs. When the
        caller is cancelled meanwhile, the question stays and the turn is ended.
        """
        return await begin(self._ledger, session_id, request_id, input)

    async def copy(self, session_id: str, title: str | None) -> Session:
        """A new session with the messages that are there now. title None: the source's.

        A running answer is copied as far as it was checkpointed, as INTERRUPTED. The copy
        is built unseen in small transactions: other writers do not wait for it.
        """
        return await copy(self._ledger, session_id, title)

    async def merge(self, session_ids: Sequence[str], title: str | None) -> Session:
        """A new session of 1 to 1,000 sessions' messages in order of time; a repeated id counts once.

        Each session's own order is kept, also where its clock stepped back. Metadata and
        context are united, the session named first wins; local_only if one was. title
        None: "Merged: " and the first one's. NotFoundError names a missing one.
        Running answers and other writers: as `copy`.
        """
        return await merge(self._ledger, session_ids, title)

    def import_(
        self, items: AsyncIterator[ImportSessionsRequest]
    ) -> AsyncGenerator[ImportSessionsResponse, None]:
        """Takes in sessions, each whole or not at all: one result for each header, then the totals.

        An answer that was exported while it was written comes in as INTERRUPTED; a
        message's id that is empty or comes again in its session is made anew.
        InvalidArgumentError HEADER_MISSING where messages come before any header.
        """
        return import_sessions(self._ledger, items)

    def export(self, session_ids: Sequence[str]) -> AsyncGenerator[ExportSessionsResponse, None]:
        """Each session's header, then its messages in steps of at most 1,000 and about 4 MiB.

        All ids are checked here, before anything is sent. NotFoundError also in the
        middle, where a session is deleted meanwhile.
        """
        return export_sessions(self._ledger, session_ids)

    def backup(self) -> AsyncGenerator[BackupStoreResponse, None]:
        """The whole store as it is now, as the pieces of a file that `oblixd restore` takes.

        Writing goes on meanwhile. ResourceExhaustedError DISK_FULL where there is no room
        for the copy that it begins with, DeadlineExceededError BACKUP_STALLED where
        nothing was taken for a minute.
        """
        return backup(self._ledger.store)


def _header(session: Session, now: int) -> records.SessionRecord:
    return records.SessionRecord(
        id=new_id(),
        title=session.title,
        create_us=now,
        metadata=session.metadata,
        context=session.context,
        local_only=session.local_only,
    )
