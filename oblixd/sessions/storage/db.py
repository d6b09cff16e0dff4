"""What every operation on conversations stands on: the store, what may be done in it, and the clock.

Whole sessions, read in blocks: each block is one short read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.message import DecodeError

from oblixd.errors import DataLossError, is_lack_of_memory
from oblixd.sessions.storage.changes import Changes
from oblixd.sessions.storage.headers import Entry, Headers
from oblixd.sessions.storage.keys import SessionKey, now_us
from oblixd.sessions.storage.messages import MessageTable, Versions
from oblixd.sessions.storage.request_table import IdempotencyTable
from oblixd.sessions.storage.schema import Tables, number_key, sequence_of
from oblixd.sessions.validation import check_session_id
from oblixd.store import DAMAGE, Store, Transaction
from oblixd.store.v1 import records_pb2 as records

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class UnfinishedTurns:
    """Turns that nobody runs any more, and that the disk or the store had no room to end."""

    requests: dict[int, str] = field(default_factory=dict)
    """The numbers of their sessions, and their requests' ids."""
    change_event: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when one is added."""

    def add(self, number: int, request_id: str) -> None:
        """Have a turn ended as soon as there is room."""
        self.requests[number] = request_id
        self.change_event.set()

    def remove(self, number: int, request_id: str) -> None:
        """Note that a turn has ended. A later one of the session that was added meanwhile stays."""
        if self.includes(number, request_id):
            del self.requests[number]

    def includes(self, number: int, request_id: str) -> bool:
        """Return whether the turn of this request is known to be one of them."""
        return self.requests.get(number) == request_id


@dataclass(frozen=True, slots=True)
class SessionDb:
    """The conversations on disk."""

    store: Store
    tables: Tables
    headers: Headers
    message_table: MessageTable
    versions: Versions
    requests: IdempotencyTable
    changes: Changes
    clock: Callable[[], int]
    """The wall clock in microseconds since 1970. May step back."""
    unfinished_turns: UnfinishedTurns = field(default_factory=UnfinishedTurns)
    on_removed: list[Callable[[SessionKey], None]] = field(default_factory=list)
    """Called once a session or messages of it were deleted: nothing of it is to stay in memory."""

    @classmethod
    def of(cls, store: Store, clock: Callable[[], int] = now_us) -> SessionDb:
        """Return the conversations in an open store."""
        tables = Tables.of(store)
        headers = Headers(tables)
        changes = Changes(store, tables, headers.change_log)
        return cls(
            store,
            tables,
            headers,
            MessageTable(tables),
            Versions(tables),
            IdempotencyTable(tables),
            changes,
            clock,
        )

    @contextmanager
    def read(self, ref: SessionKey) -> Iterator[Transaction]:
        """Open a snapshot to read one session from. Damage is named as that session's."""
        with name_damage(ref.id), self.store.read() as txn:
            yield txn

    async def write(
        self,
        ref: SessionKey,
        operation: Callable[[Transaction], T],
        *,
        frees: bool = False,
        gathers: bool = False,
    ) -> T:
        """Write to one session. Damage is named as that session's. The rest: see `Store.write`."""
        with name_damage(ref.id):
            return await self.store.write(operation, frees=frees, gathers=gathers)

    def tell_removed(self, ref: SessionKey) -> None:
        """Have all that keep something of a session in memory drop it."""
        self.headers.forget_shared()
        for drop in self.on_removed:
            drop(ref)

    def ref(self, session_id: str, field: str = "session_id") -> SessionKey:
        """Return the session of an id, in a read of its own.

        InvalidArgumentError where the id is malformed, NotFoundError where it is unknown.
        """
        check_session_id(session_id, field)
        with name_damage(session_id), self.store.read() as txn:
            return self.headers.ref(txn, session_id)

    def entry(self, session_id: str, field: str = "session_id") -> Entry:
        """Return the session's records, in a read of their own. Errors as `ref`."""
        check_session_id(session_id, field)
        with name_damage(session_id), self.store.read() as txn:
            return self.headers.entry(txn, self.headers.ref(txn, session_id))

    def begin_turn(
        self,
        txn: Transaction,
        ref: SessionKey,
        progress: records.ProgressRecord,
        running: records.RunningTurn,
        request: records.RequestRecord,
    ) -> None:
        """Reserve a sequence for the answer, and write the request. The caller touches the session.

        A version over 0 in `running`: the answer gets the sequence that stands there.
        """
        if not running.version:
            running.answer_sequence = progress.next_sequence
            progress.next_sequence += 1
        request.answer_sequence = running.answer_sequence
        self.requests.begin(txn, running.request_id, request)
        progress.running.CopyFrom(running)
        self.tables.running.put(txn, number_key(ref.number), b"")

    def remove_messages(
        self, txn: Transaction, ref: SessionKey, progress: records.ProgressRecord, sequences: Iterable[int]
    ) -> int:
        """Remove messages with their versions. Says how many there were. The caller touches the session."""
        sequences_to_remove = list(sequences)
        for sequence in sequences_to_remove:
            self.versions.delete_all(txn, ref.number, sequence)
        return self.message_table.remove(txn, ref.number, progress, sequences_to_remove)

    def end_turn(
        self,
        txn: Transaction,
        ref: SessionKey,
        progress: records.ProgressRecord,
        record: records.MessageRecord | None,
        ending: records.RequestRecord,
        *,
        is_lost: bool = False,
    ) -> None:
        """Write the answer over its checkpoints and clear the running turn.

        None: nothing of it came, and it leaves no answer; an answer that it was to replace comes back.
        `is_lost`: of what came a part is damaged; without an old answer its number is left as missing.

        `ending` is what `requests.ending` makes.
        """
        sequence, version = progress.running.answer_sequence, progress.running.version
        if record is None and version:
            record = self.versions.take(txn, ref.number, sequence, version - 1)
        elif version:
            progress.revised += 1
            self.remove_messages(txn, ref, progress, progress.running.replaced_results)
        if self.message_table.delete(txn, ref.number, sequence):
            progress.message_count -= 1
        if record is None and not is_lost:
            self.message_table.put_tombstone(txn, ref.number, sequence)
        else:
            # A message that is lost counts, until it is deleted.
            progress.message_count += 1
        if record is not None:
            self.message_table.put(txn, ref.number, sequence, record)
        self.requests.end(txn, progress.running.request_id, ending)
        progress.ClearField("running")
        self.tables.running.delete(txn, number_key(ref.number))
        self.headers.touch(txn, ref, progress, self.clock())


@contextmanager
def name_damage(session_id: str) -> Iterator[None]:
    """Say of damage whose it is: the tables know numbers only."""
    try:
        yield
    except DataLossError as error:
        raise damage_of(session_id, error) from error
    except (DecodeError, UnicodeDecodeError) as error:
        if is_lack_of_memory(error):
            raise
        raise DataLossError(
            "RECORD_DAMAGED",
            f"A record of session {session_id} can't be read although its checksum holds: {error}. It is not "
            "served. Restore the store from a backup, or delete the session.",
            session_id=session_id,
        ) from error


def damage_of(session_id: str, error: DataLossError) -> DataLossError:
    """Return the error of a table, told as one of a session."""
    table, key = error.metadata.get("table"), error.metadata.get("key")
    if key is None:
        return error
    what = f"Message {sequence_of(bytes.fromhex(key))} of session" if table == "messages" else "Session"
    return DataLossError(
        error.reason,
        f"{what} {session_id} is damaged on disk: at {key} in {table}, {DAMAGE[error.metadata['damage']]}. "
        "It is not served. Restore the store from a backup, or delete the session.",
        **error.metadata,
        session_id=session_id,
    )


BLOCK_MESSAGES = 500
BLOCK_BYTES = 2**20
"""Where a block ends, so that the event loop is soon free again. A message alone may be larger."""


def blocks(db: SessionDb, entry: Entry, end: int = 0) -> Iterator[list[tuple[int, bytes]]]:
    """Sequences and serialised records of the messages that were there when `entry` was read.

    `end`: only those before this sequence. NotFoundError where the session is deleted in between,
    DataLossError where a record is damaged or missing.
    """
    at, end = 1, end or entry.progress.next_sequence
    while True:
        block = _block(db, entry, at, end)
        if not block:
            return
        at = block[-1][0] + 1
        yield block


def _block(db: SessionDb, entry: Entry, at: int, end: int) -> list[tuple[int, bytes]]:
    block: list[tuple[int, bytes]] = []
    room = BLOCK_BYTES
    with db.read(entry.ref) as txn:
        progress = db.headers.progress(txn, entry.ref)
        for sequence, payload in db.message_table.scan(txn, entry.number, progress, at, end):
            room -= len(payload)
            if len(block) == BLOCK_MESSAGES or (block and room < 0):
                break
            block.append((sequence, payload))
    return block
