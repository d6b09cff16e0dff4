"""One turn of a conversation: the question, and the answer while it is being written.

Finding a turn again by its request's id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from oblix.v1 import messages_pb2, sessions_pb2
from oblix.v1.messages_pb2 import Message, MessageStatus

from oblixd.errors import DataLossError, FailedPreconditionError, OblixdError, ResourceExhaustedError
from oblixd.failpoints import reach
from oblixd.sessions.editing.exclusion import clear_marks
from oblixd.sessions.storage.db import SessionDb, name_damage
from oblixd.sessions.storage.headers import Entry
from oblixd.sessions.storage.keys import SessionKey, new_id, pack, timestamp, unpack
from oblixd.sessions.storage.messages import new_records, recorded_messages
from oblixd.sessions.storage.records import join_parts, message_from, message_record, part_records
from oblixd.sessions.storage.request_table import (
    UNKNOWN_COMPLETION,
    RecordedTurn,
    TurnCompletion,
    completion_of,
    completion_record,
)
from oblixd.sessions.storage.schema import number_key
from oblixd.sessions.validation import (
    check_durations,
    check_message,
    check_messages,
    check_parts,
    check_request_id,
    check_session_id,
)
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

logger = logging.getLogger(__name__)

T = TypeVar("T")


class ExtraWrite(Protocol):
    """What is written together with the end of a turn."""

    def write(self, txn: Transaction) -> None:
        """Write it. May be called more than once, each time in a new transaction."""

    def after_commit(self) -> None:
        """Hear that it is durable."""


class Turn:
    """A turn that runs. Ended by `finish`; one that the daemon's end cut off is folded at the next start."""

    def __init__(
        self,
        db: SessionDb,
        ref: SessionKey,
        running: records.RunningTurn,
        session: sessions_pb2.Session,
        recorded: list[messages_pb2.Message],
    ) -> None:
        self._db = db
        self._ref = ref
        self._record = running
        self._pieces = 0
        self.session = session
        """The header as of the begin."""
        self._excluded_sequences = [asked.sequence for asked in recorded if asked.HasField("exclusion")]
        self.input = recorded
        """The question's messages as they were recorded."""
        self.answer_id = unpack(running.answer_id)
        """The id that the answer will have."""
        self.answer_sequence = running.answer_sequence
        """The sequence that is reserved for the answer."""

    async def checkpoint(self, parts: Sequence[messages_pb2.Part]) -> None:
        """Add parts to the answer, durably. The first call makes the message, status STREAMING.

        NotFoundError once the session was deleted, FailedPreconditionError TURN_ENDED
        once the turn was finished.
        """
        check_parts(parts, "parts")
        piece = records.PieceRecord(parts=part_records(parts))
        index = self._pieces
        self._pieces += 1
        begun = begun_record(self._record, self._db.clock(), records.STATUS_RECORD_STREAMING)

        def write(txn: Transaction) -> None:
            message_table, number = self._db.message_table, self._ref.number
            progress = self._progress(txn)
            if message_table.get(txn, number, self.answer_sequence) is None:
                message_table.put(txn, number, self.answer_sequence, begun)
                progress.message_count += 1
                self._db.headers.put_progress(txn, self._ref, progress)
            message_table.put_piece(txn, number, self.answer_sequence, index, piece)

        reach("checkpoint.before")
        try:
            await self._db.write(self._ref, write)
        except OblixdError:
            # It was not written: the next one takes its place, for a gap is damage.
            self._pieces = index
            raise
        reach("checkpoint.after")

    async def finish(
        self,
        message: messages_pb2.Message,
        completion: TurnCompletion = UNKNOWN_COMPLETION,
        extra_write: ExtraWrite | None = None,
        *,
        gathers: bool = False,
    ) -> messages_pb2.Message:
        """Put the final record in place of the checkpoints and end the turn, in one transaction.

        `extra_write` writes what else belongs to the answer, in the same transaction. `gathers`: see
        `Store.write`.

        parts, status (unset: COMPLETE), model, usage, timings and decision are taken;
        create_time where it is set, else that of the first checkpoint, else now. The rest
        is the turn's. `completion` is kept with its request. A question that was left out of contexts
        when the turn began is not any more, once it has a complete answer. A turn that answers anew and
        has nothing to show ends as by `abandon`. Returns the message as recorded.
        Errors as `checkpoint`.
        """
        final = self._final(message)
        check_message(final, "message")
        check_durations(final, "message")
        record = message_record(final)
        now_us, request_record = self._db.clock(), completion_record(record.status, completion)
        # An old answer is replaced by something, not by the note that nothing came.
        replaces_nothing = (
            self._record.version and not record.parts and record.status != records.STATUS_RECORD_COMPLETE
        )
        new_record = None if replaces_nothing else record

        def write(txn: Transaction) -> None:
            progress = self._progress(txn)
            if not final.HasField("create_time"):
                begun = self._db.message_table.get(txn, self._ref.number, self.answer_sequence)
                record.create_us = begun.create_us if begun else now_us
            if record.status == records.STATUS_RECORD_COMPLETE:
                clear_marks(self._db, txn, (self._ref.number, progress), self._excluded_sequences)
            self._db.end_turn(txn, self._ref, progress, new_record, request_record)
            if extra_write is not None:
                extra_write.write(txn)

        # What is recorded of the answer already gives its room back; the turn must be able to end.
        reach("finish.before")
        await self._end(write, gathers=gathers)
        reach("finish.after")
        if extra_write is not None:
            extra_write.after_commit()
        final.create_time.CopyFrom(timestamp(record.create_us))
        return final

    async def restart(self) -> None:
        """Drop the checkpoints: the answer begins anew on another model. Errors as `checkpoint`."""

        def write(txn: Transaction) -> None:
            progress = self._progress(txn)
            if self._db.message_table.delete(txn, self._ref.number, self.answer_sequence):
                progress.message_count -= 1
                self._db.headers.put_progress(txn, self._ref, progress)

        await self._db.write(self._ref, write)
        self._pieces = 0

    async def abandon(
        self,
        completion: TurnCompletion = UNKNOWN_COMPLETION,
        extra_write: ExtraWrite | None = None,
    ) -> None:
        """End the turn without an answer, where nothing of one came. Errors as `checkpoint`.

        Its request has failed where `completion` has an error, else it was cancelled.
        `extra_write`: as for `finish`.
        """
        failed = completion.error is not None
        status = records.STATUS_RECORD_FAILED if failed else records.STATUS_RECORD_CANCELLED
        request_record = completion_record(status, completion)

        def write(txn: Transaction) -> None:
            self._db.end_turn(txn, self._ref, self._progress(txn), None, request_record)
            if extra_write is not None:
                extra_write.write(txn)

        await self._end(write)
        if extra_write is not None:
            extra_write.after_commit()

    async def _end(self, write: Callable[[Transaction], None], *, gathers: bool = False) -> None:
        try:
            await self._db.write(self._ref, write, frees=True, gathers=gathers)
        except ResourceExhaustedError:
            # The session takes no other turn until this one has an end.
            self._db.unfinished_turns.add(self._ref.number, self._record.request_id)
            raise

    def _final(self, message: messages_pb2.Message) -> messages_pb2.Message:
        final = messages_pb2.Message()
        final.CopyFrom(message)
        final.id, final.request_id, final.role = (
            self.answer_id,
            self._record.request_id,
            messages_pb2.ROLE_ASSISTANT,
        )
        final.status = message.status or messages_pb2.MESSAGE_STATUS_COMPLETE
        final.sequence, final.version = self.answer_sequence, self._record.version
        final.source_session_id = ""
        final.ClearField("exclusion")
        return final

    def _progress(self, txn: Transaction) -> records.ProgressRecord:
        progress = self._db.headers.progress(txn, self._ref)
        if progress.running != self._record:
            raise FailedPreconditionError(
                "TURN_ENDED",
                f"The turn of {self._record.request_id} has ended; nothing can be added to its answer.",
                session_id=self._ref.id,
                request_id=self._record.request_id,
            )
        return progress


def begun_record(
    running: records.RunningTurn, create_us: int, status: records.StatusRecord.ValueType
) -> records.MessageRecord:
    """Return the record of a turn's answer, without its parts."""
    return records.MessageRecord(
        id=running.answer_id,
        role=records.ROLE_RECORD_ASSISTANT,
        create_us=create_us,
        status=status,
        request_id=pack(running.request_id),
        version=running.version,
    )


def cut_off(db: SessionDb, txn: Transaction, entry: Entry, status: records.StatusRecord.ValueType) -> None:
    """End a turn from outside: its answer is what was checkpointed.

    Where nothing was, an answer that it was to replace comes back. Where a checkpoint is damaged, no record
    is left under the answer's number: every read names it, and deleting that message mends the session.
    """
    try:
        record = _checkpointed_record(db, txn, entry, status)
    except DataLossError as error:
        logger.error("an answer of session %s can't be kept: %s", entry.header.id, error.message)  # noqa: TRY400 - it says all
        db.end_turn(txn, entry.ref, entry.progress, None, completion_record(status), is_lost=True)
    else:
        db.end_turn(txn, entry.ref, entry.progress, record, completion_record(status))


def _checkpointed_record(
    db: SessionDb, txn: Transaction, entry: Entry, status: records.StatusRecord.ValueType
) -> records.MessageRecord | None:
    running = entry.progress.running
    record = db.message_table.get(txn, entry.number, running.answer_sequence)
    if record is not None:
        record.parts.extend(join_parts(db.message_table.pieces(txn, entry.number, running.answer_sequence)))
        record.status = status
    elif not running.version:
        record = begun_record(running, db.clock(), status)
    return record


def _interrupt(db: SessionDb, number: int, request_id: str, txn: Transaction) -> None:
    """End a turn that nobody runs any more. Its session may be deleted by now, or have another turn."""
    if db.tables.running.get(txn, number_key(number)) is None:
        return
    entry = db.headers.entry_numbered(txn, number)
    if entry.progress.running.request_id == request_id:
        cut_off(db, txn, entry, records.STATUS_RECORD_INTERRUPTED)


async def begin(
    db: SessionDb,
    session_id: str,
    request_id: str,
    question: Sequence[messages_pb2.Message],
    fingerprint: bytes,
) -> Turn:
    """Record the question and reserve a sequence for the answer. See `Sessions.begin_turn`."""
    check_messages(question, "input")
    now = db.clock()
    new = new_records(question, now, request_id)
    payloads = [record.SerializeToString() for record in new]
    running = records.RunningTurn(request_id=request_id, answer_id=pack(new_id()))

    def write(txn: Transaction, entry: Entry) -> tuple[int, Entry]:
        first = db.message_table.append(txn, entry.number, entry.progress, payloads)
        request = records.RequestRecord(number=entry.number, question_sequence=first, fingerprint=fingerprint)
        db.begin_turn(txn, entry.ref, entry.progress, running, request)
        db.headers.touch(txn, entry.ref, entry.progress, now)
        return first, entry

    first, entry = await write_beginning(db, session_id, running, write)
    reach("turn.begun")
    return Turn(db, entry.ref, running, entry.session(), recorded_messages(new, first))


async def write_beginning(
    db: SessionDb, session_id: str, running: records.RunningTurn, write: Callable[[Transaction, Entry], T]
) -> T:
    """Begin a turn: read the session, see that a turn of a new request can begin in it, and write.

    All in one transaction. Errors as `Sessions.begin_turn`. Where the caller goes away meanwhile the turn
    is ended.
    """
    check_session_id(session_id)
    check_request_id(running.request_id)

    def begin(txn: Transaction) -> T | OblixdError:
        try:
            entry = _free_entry(db, txn, session_id, running.request_id)
        except OblixdError as refusal:
            # Nothing is written yet, so it is no failure of those who write in the same transaction.
            return refusal
        return write(txn, entry)

    with name_damage(session_id):
        try:
            result = await db.store.write(begin)
        except asyncio.CancelledError:
            _give_up(db, session_id, running)
            raise
        if isinstance(result, OblixdError):
            raise result
        return result


def _free_entry(db: SessionDb, txn: Transaction, session_id: str, request_id: str) -> Entry:
    ref = db.headers.ref(txn, session_id)
    entry = db.headers.entry(txn, ref)
    running = entry.progress.running.request_id
    if running and db.unfinished_turns.includes(entry.number, running):
        cut_off(db, txn, entry, records.STATUS_RECORD_INTERRUPTED)
        entry = db.headers.entry(txn, ref)
    check_free(entry)
    db.requests.check_new(txn, request_id)
    return entry


def cut_off_turns(db: SessionDb) -> dict[int, str]:
    """Return the requests whose turns nobody runs any more, by the numbers of their sessions.

    Ask before any turn begins.
    """
    requests = {}
    with db.store.read() as txn:
        for key, _ in db.tables.running.scan(txn, b""):
            number = int.from_bytes(key, "big")
            try:
                requests[number] = db.headers.entry_numbered(txn, number).progress.running.request_id
            except DataLossError:
                # One damaged session must not keep all others from being served.
                logger.exception("the turn of session number %d can't be ended", number)
    return requests


async def interrupt(db: SessionDb) -> None:
    """End the turns that nobody runs any more, but those for which there is no room now."""
    for number, request_id in list(db.unfinished_turns.requests.items()):
        reach("recovery")
        try:
            await db.store.write(partial(_interrupt, db, number, request_id), frees=True)
        except DataLossError:
            # One damaged session must not keep all others from being served.
            logger.exception("the turn of session number %d can't be ended", number)
        except ResourceExhaustedError as error:
            logger.warning("the turn of session number %d can't be ended yet: %s", number, error.message)
            continue
        db.unfinished_turns.remove(number, request_id)


def check_free(entry: Entry) -> None:
    """FailedPreconditionError TURN_RUNNING where a turn of the session runs."""
    if entry.progress.HasField("running"):
        raise FailedPreconditionError(
            "TURN_RUNNING",
            f"Session {entry.header.id} is answering {entry.progress.running.request_id} already. "
            "Wait for its end, or cancel it.",
            session_id=entry.header.id,
            request_id=entry.progress.running.request_id,
        )


def _give_up(db: SessionDb, session_id: str, running: records.RunningTurn) -> None:
    """End a turn whose beginner went away while its question was being written."""

    def write(txn: Transaction) -> None:
        ref = db.headers.find(txn, session_id)
        payload = db.tables.progress.get(txn, number_key(ref.number)) if ref else None
        if ref is None or payload is None:
            return
        progress = records.ProgressRecord.FromString(payload)
        # Both ids tell this turn from any other; it did not begin where they are not there.
        current = progress.running
        if (current.request_id, current.answer_id) == (running.request_id, running.answer_id):
            db.end_turn(txn, ref, progress, None, completion_record(records.STATUS_RECORD_CANCELLED))

    db.store.write(write, frees=True)


def recorded_turn(db: SessionDb, request_id: str) -> RecordedTurn | None:
    """Return the turn that a request began. See `Sessions.recorded`."""
    check_request_id(request_id)
    with db.store.read() as txn:
        record = db.requests.get(txn, request_id)
        if record is None or db.tables.progress.get(txn, number_key(record.number)) is None:
            return None
        entry = db.headers.entry_numbered(txn, record.number)
    with db.read(entry.ref) as txn:
        return _turn(db, txn, entry, record, pack(request_id))


def _turn(
    db: SessionDb, txn: Transaction, entry: Entry, record: records.RequestRecord, request: bytes
) -> RecordedTurn:
    question = (
        _message(db, txn, entry, sequence)
        for sequence in range(record.question_sequence, record.answer_sequence)
    )
    return RecordedTurn(
        session_id=entry.header.id,
        fingerprint=record.fingerprint,
        status=MessageStatus.ValueType(record.status),
        question=[message for message in question if message is not None],
        answer=_answer(db, txn, entry, record.answer_sequence, request),
        completion=completion_of(record),
    )


def _answer(db: SessionDb, txn: Transaction, entry: Entry, sequence: int, request: bytes) -> Message | None:
    """Return what the request's model wrote: the oldest version of the answer that the request recorded."""
    for record in db.versions.ascending(txn, entry.number, sequence):
        if record.request_id == request:
            return message_from(record, sequence)
    message = _message(db, txn, entry, sequence)
    return message if message is not None and pack(message.request_id) == request else None


def _message(db: SessionDb, txn: Transaction, entry: Entry, sequence: int) -> Message | None:
    payload = db.message_table.payload(txn, entry.number, entry.progress, sequence)
    return None if payload is None else db.message_table.message(txn, entry.number, sequence, payload)
