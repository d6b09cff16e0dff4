"""Conversations, as the other packages see them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from typing import TypeAlias, TypeVar

from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from oblix.v1.messages_pb2 import Message
from oblix.v1.sessions_pb2 import (
    ARCHIVED_FILTER_UNSPECIFIED,
    ArchivedFilter,
    BackupStoreResponse,
    DamagedSession,
    DeleteMessagesRequest,
    DeleteMessagesResponse,
    EditMessageRequest,
    ExportSessionsResponse,
    ImportSessionsRequest,
    ImportSessionsResponse,
    ListMessageVersionsRequest,
    ListMessageVersionsResponse,
    PruneSessionsRequest,
    PruneSessionsResponse,
    Session,
    WatchSessionsResponse,
)

from oblixd.errors import DataLossError
from oblixd.sessions import deletion, listing, retention
from oblixd.sessions.builder import copy, merge
from oblixd.sessions.crud import apply, check_paths, create
from oblixd.sessions.deletion import sweep_leftovers
from oblixd.sessions.editing.exclusion import exclude, include
from oblixd.sessions.editing.mending import delete_messages, edit_message, message_versions
from oblixd.sessions.editing.regeneration import begin_again, question_of
from oblixd.sessions.listing import Query
from oblixd.sessions.retention import prune
from oblixd.sessions.storage.db import SessionDb
from oblixd.sessions.storage.keys import now_us
from oblixd.sessions.storage.messages import new_records, recorded_messages
from oblixd.sessions.storage.request_table import RecordedTurn
from oblixd.sessions.storage.retention_rules import DEFAULT, RetentionConfig
from oblixd.sessions.storage.tails import Placed, Tails
from oblixd.sessions.transfer import backup, export_sessions, import_sessions
from oblixd.sessions.turns import Turn, begin, cut_off_turns, interrupt, recorded_turn
from oblixd.sessions.validation import check_messages
from oblixd.sessions.watch import Watches
from oblixd.store import Store, Transaction

Messages: TypeAlias = list[Message]
SessionPage: TypeAlias = tuple[list[Session], str]
Sequences: TypeAlias = list[int]
MessagePage: TypeAlias = tuple[list[Message], str]
PlacedT = TypeVar("PlacedT", bound=Placed)


class Sessions:
    """Conversations. Reads are short and synchronous; writes are awaited until they are durable.

    Every method: InvalidArgumentError INVALID_SESSION_ID where an id is malformed,
    NotFoundError SESSION_NOT_FOUND where it is unknown, DataLossError where a record
    is damaged, ResourceExhaustedError where the store or the disk is full. A write is
    carried out also when its caller is cancelled while it waits.
    """

    on_deleted: Callable[[str, str], None]
    """Called with a session's id and its running request's id once it was deleted in the middle of a turn."""

    def __init__(
        self, store: Store, clock: Callable[[], int] = now_us, keeping: RetentionConfig = DEFAULT
    ) -> None:
        self._db = SessionDb.of(store, clock)
        self._keeping = keeping
        self._watches = Watches(self._db)
        self.on_deleted = lambda _session_id, _request_id: None

    def on_removed(self, drop: Callable[[str], None]) -> None:
        """Have `drop` called with a session's id once it, or messages of it, were deleted.

        What was deleted for good must not stay in memory.
        """
        self._db.on_removed.append(lambda ref: drop(ref.id))

    @property
    def db(self) -> SessionDb:
        """What they are kept in, for the search over them."""
        return self._db

    async def recover(self) -> int:
        """Once after the start, before anything else: end the turns that the daemon's death cut off.

        Their answers keep what was checkpointed, as INTERRUPTED. Returns how many there were.
        """
        sweep_leftovers(self._db)
        await self._db.store.write(self._db.headers.change_log.make_store_id)
        requests = cut_off_turns(self._db)
        for number, request_id in requests.items():
            self._db.unfinished_turns.add(number, request_id)
        await interrupt(self._db)
        return len(requests)

    async def keep_up(self) -> None:
        """Apply retention and sweep deleted sessions in the background, every hour until cancelled."""
        await retention.keep_up(self._db, self._keeping)

    def close(self) -> None:
        """End the watches, with UnavailableError DAEMON_STOPPING."""
        self._watches.close()

    async def create(self, session: Session) -> Session:
        """Make an empty session of the title, metadata, context, local_only and routing_policy given.

        Its id is the one given, or a new one. AlreadyExistsError SESSION_EXISTS where a session has it,
        SESSION_DELETED where one had it that can be brought back.
        """
        made, _ = await create(self._db, session, get_existing=False)
        return made

    async def get_or_create(self, session: Session) -> tuple[Session, bool]:
        """Return the session of an id, made as `create` does where there is none; and whether it was made.

        One that is there stays as it is, but becomes local-only where `session` is. Errors: only
        SESSION_DELETED, as `create`.
        """
        return await create(self._db, session, get_existing=True)

    def get(self, session_id: str) -> Session:
        """Return the header. Reads no messages."""
        return self._db.entry(session_id).session()

    def count(self) -> int:
        """Count the sessions."""
        with self._db.store.read() as txn:
            return self._db.tables.ids.count(txn)

    def list(
        self,
        *,
        page_size: int,
        page_token: str,
        filter: Struct,  # noqa: A002 - the contract's word
        updated_from: Timestamp | None = None,
        updated_before: Timestamp | None = None,
        archived: ArchivedFilter.ValueType = ARCHIVED_FILTER_UNSPECIFIED,
        deleted: bool = False,
        damaged: list[DamagedSession] | None = None,
    ) -> SessionPage:
        """Return a page of headers, newest first, and the token of the next page, empty at the end.

        page_size 0 is 50, more than 1,000 is 1,000. A page is shorter than that where
        it reaches 4 MiB, or where it looked at 2,000 sessions for matches. `deleted`:
        the deleted ones instead, last deleted first; the times are then those of the deletion.
        Sessions that can't be shown for damage are put into `damaged`; without one they are a
        DataLossError.
        """
        query = Query(filter, updated_from, updated_before, archived, deleted)
        hurt: list[DamagedSession] = []
        page = listing.session_page(
            self._db, page_size, page_token, query, self._keeping.deleted_days, damaged=hurt
        )
        if damaged is not None:
            damaged += hurt
        elif hurt:
            raise DataLossError(hurt[0].reason, hurt[0].detail, session_id=hurt[0].session_id)
        return page

    async def update(self, session: Session, paths: Sequence[str]) -> Session:
        """Change the header of session.id: see UpdateSession in the contract.

        AbortedError ETAG_MISMATCH, FailedPreconditionError LOCAL_ONLY_STAYS.
        """
        check_paths(paths)
        found = self._db.entry(session.id, "session.id")
        # Tried here first: what fails in the writer makes it repeat the whole group's work.
        apply(found, session, paths)
        ref = found.ref

        def write(txn: Transaction) -> Session:
            entry = self._db.headers.entry(txn, ref)
            apply(entry, session, paths)
            self._db.headers.rewrite(txn, entry, self._db.clock())
            return entry.session()

        return await self._db.write(ref, write)

    async def delete(self, session_id: str, *, purge: bool = False) -> None:
        """Delete a session. It can be brought back for as long as deleted ones are kept.

        A damaged one can't. Its id stays taken for that long. A turn that runs is ended, its part is kept as
        CANCELLED, and it is told to `on_deleted`. `purge`: it can't be brought back and its id is free at
        once, also where it was deleted before.
        """
        if purge and await deletion.purge_deleted(self._db, session_id):
            return
        ref = self._db.ref(session_id)
        request_id = await deletion.delete(self._db, ref, not purge and self._keeping.deleted_days > 0)
        if request_id:
            self.on_deleted(session_id, request_id)

    async def undelete(self, session_id: str) -> Session:
        """Bring a deleted session back as it was. FailedPreconditionError SESSION_NOT_DELETED."""
        return await deletion.undelete(self._db, session_id)

    async def prune(self, request: PruneSessionsRequest) -> PruneSessionsResponse:
        """Archive or delete what a rule names, in small transactions, or say which it would be.

        A session whose turn runs is left alone. InvalidArgumentError DAYS_MISSING where
        action or filter are set without days, ACTION_MISSING where days are without an
        action, FILTER_EMPTY where a filter is set and holds no key.
        """
        return await prune(self._db, self._keeping, request)

    @property
    def watch_count(self) -> int:
        """How many watch."""
        return self._watches.count

    def watch(
        self,
        filter: Struct,  # noqa: A002 - the contract's word
        from_revision: int | None,
    ) -> AsyncGenerator[WatchSessionsResponse, None]:
        """Return the matching headers, or what was missed since a revision; then `synced`; then each change.

        Archived sessions are not watched, as they are not listed. InvalidArgumentError
        INVALID_REVISION for one of the future.
        """
        return self._watches.watch(filter, from_revision)

    async def append(self, session_id: str, messages: Sequence[Message]) -> Messages:
        """Add 1 to 1,000 messages, all or none; return them as they were recorded.

        While a turn runs they come after its answer.
        """
        ref = self._db.ref(session_id)
        check_messages(messages)
        now = self._db.clock()
        new = new_records(messages, now)
        payloads = [record.SerializeToString() for record in new]

        def write(txn: Transaction) -> int:
            progress = self._db.headers.progress(txn, ref)
            first = self._db.message_table.append(txn, ref.number, progress, payloads)
            self._db.headers.touch(txn, ref, progress, now)
            return first

        return recorded_messages(new, await self._db.write(ref, write))

    def messages(
        self,
        session_id: str,
        *,
        page_size: int,
        page_token: str,
        newest_first: bool,
        from_sequence: int = 0,
    ) -> MessagePage:
        """Return a page of messages and the token of the next page, empty at the end.

        page_size 0 is 100, more than 1,000 is 1,000; a page ends early at about 4 MiB.
        A running answer is told as far as it was checkpointed. `from_sequence`: where to
        begin, in either direction; 0 is the start.
        """
        ref = self._db.ref(session_id)
        return listing.message_page(
            self._db, ref, page_size, page_token, newest_first, from_sequence=from_sequence
        )

    def history(self, session_id: str, before_sequence: int) -> Iterator[Message]:
        """Return the messages before a sequence, newest first, each in a read of its own.

        NotFoundError also in the middle, where the session is deleted meanwhile.
        """
        return listing.history(self._db, self._db.ref(session_id), before_sequence)

    def tails(self, form: Callable[[Message], PlacedT]) -> Tails[PlacedT]:
        """Return a reader of messages as models get to read them, which keeps what `form` makes of them."""
        return Tails(self._db, form)

    async def delete_messages(self, request: DeleteMessagesRequest) -> DeleteMessagesResponse:
        """Delete messages for good, with their versions and the other halves of their tool calls.

        See DeleteMessages in the contract. FailedPreconditionError TURN_RUNNING, NotFoundError
        MESSAGE_NOT_FOUND. Also a damaged message can be deleted: that mends its session.
        """
        return await delete_messages(self._db, request)

    async def edit_message(self, request: EditMessageRequest) -> Message:
        """Make a new version of a message, and keep the old one. See EditMessage in the contract.

        FailedPreconditionError TURN_RUNNING, NotFoundError MESSAGE_NOT_FOUND or VERSION_NOT_FOUND,
        AbortedError VERSION_MISMATCH, InvalidArgumentError TOOL_CALLS_CHANGED.
        """
        return await edit_message(self._db, request)

    def message_versions(self, request: ListMessageVersionsRequest) -> ListMessageVersionsResponse:
        """Return a page of the versions of a message that were replaced, newest first."""
        return message_versions(self._db, request)

    async def exclude(
        self, session_id: str, sequences: Sequence[int], reason: str = "", detail: str = ""
    ) -> Sequences:
        """Mark 1 to 1,000 messages as left out of contexts, with the other halves of their tool calls.

        Also while a turn runs, but not its answer. Returns the sequences that were marked now; a mark that
        is there stays. NotFoundError MESSAGE_NOT_FOUND, and nothing is marked, where no message stands.
        """
        return await exclude(self._db, session_id, sequences, reason, detail)

    async def include(self, session_id: str, sequences: Sequence[int]) -> Sequences:
        """Take the marks of messages away, and those of the other halves of their tool calls.

        Returns the sequences whose mark is gone. Errors as `exclude`.
        """
        return await include(self._db, session_id, sequences)

    async def begin_turn(
        self,
        session_id: str,
        request_id: str,
        input: Sequence[Message],  # noqa: A002 - the contract's word
        fingerprint: bytes = b"",
    ) -> Turn:
        """Record the question and reserve the sequence after it for the answer, in one transaction.

        FailedPreconditionError TURN_RUNNING where a turn of this session runs,
        AlreadyExistsError REQUEST_ID_REUSED where a session holds a turn of this request.
        `fingerprint` is told by `recorded`. When the caller is cancelled meanwhile, the
        question stays and the turn is ended.
        """
        return await begin(self._db, session_id, request_id, input, fingerprint)

    def question_of(self, session_id: str, message_id: str) -> Messages:
        """Return the messages of the question that `begin_turn_again` would answer now. Errors as there."""
        return question_of(self._db, session_id, message_id)

    async def begin_turn_again(
        self, session_id: str, request_id: str, message_id: str, fingerprint: bytes = b""
    ) -> Turn:
        """Begin a turn that answers a question anew: see ExecuteRequest.regenerate_message_id.

        The turn's `input` is the question as it stands. The old answer becomes a version in the same
        transaction, and comes back where the turn ends before anything of the new one was kept.
        NotFoundError MESSAGE_NOT_FOUND, FailedPreconditionError MESSAGE_NOT_LAST or NOTHING_TO_ANSWER;
        otherwise as `begin_turn`.
        """
        return await begin_again(self._db, session_id, request_id, message_id, fingerprint)

    def recorded_turn(self, request_id: str) -> RecordedTurn | None:
        """Return the turn that a request began, however long ago. None: no session holds one.

        Copies of its messages, in whichever session, are none. A deleted session's turns
        are back when it is brought back; until it is purged, their ids stay taken.
        """
        return recorded_turn(self._db, request_id)

    async def copy(self, session_id: str, title: str | None, up_to_sequence: int = 0) -> Session:
        """Return a new session with the messages that are there now. title None: the source's.

        up_to_sequence: the last message to copy; 0 is all. InvalidArgumentError past the end.
        A running answer is copied as far as it was checkpointed, as INTERRUPTED. The copy
        is built unseen in small transactions: other writers do not wait for it.
        """
        return await copy(self._db, session_id, title, up_to_sequence)

    async def merge(self, session_ids: Sequence[str], title: str | None) -> Session:
        """Return a new session of 1 to 1,000 sessions' messages in order of time; a repeated id counts once.

        Each session's own order is kept, also where its clock stepped back. Metadata and
        context are united, the session named first wins; local_only if one was; routing_policy where
        all have the same. title
        None: "Merged: " and the first one's. NotFoundError names a missing one.
        Running answers and other writers: as `copy`.
        """
        return await merge(self._db, session_ids, title)

    def import_(
        self, items: AsyncIterator[ImportSessionsRequest]
    ) -> AsyncGenerator[ImportSessionsResponse, None]:
        """Take in sessions, each whole or not at all: one result for each header, then the totals.

        An answer that was exported while it was written comes in as INTERRUPTED; a
        message's id that is empty or comes again in its session is made anew.
        InvalidArgumentError HEADER_MISSING where messages come before any header.
        """
        return import_sessions(self._db, items)

    def export(self, session_ids: Sequence[str]) -> AsyncGenerator[ExportSessionsResponse, None]:
        """Yield each session's header, then its messages in steps of at most 1,000 and about 4 MiB.

        All ids are checked here, before anything is sent. NotFoundError also in the
        middle, where a session is deleted meanwhile.
        """
        return export_sessions(self._db, session_ids)

    def backup(self) -> AsyncGenerator[BackupStoreResponse, None]:
        """Return the whole store as it is now, as the pieces of a file that `oblixd restore` takes.

        Writing goes on meanwhile. ResourceExhaustedError DISK_FULL where there is no room
        for the copy that it begins with, DeadlineExceededError BACKUP_STALLED where
        nothing was taken for a minute.
        """
        return backup(self._db.store)
