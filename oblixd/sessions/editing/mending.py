"""Conversations mended by hand: messages are deleted or edited, and keep what they were before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from oblix.v1 import messages_pb2, sessions_pb2

from oblixd.errors import AbortedError, DataLossError, NotFoundError, invalid_field
from oblixd.sessions.editing.exclusion import message_not_found
from oblixd.sessions.editing.tool_pairs import call_ids, result_ids, with_counterparts
from oblixd.sessions.listing import MAX_PAGE_BYTES, page_position, page_token
from oblixd.sessions.storage.db import SessionDb
from oblixd.sessions.storage.headers import Entry
from oblixd.sessions.storage.keys import SessionKey
from oblixd.sessions.storage.messages import first_of
from oblixd.sessions.storage.records import message_from, part_records
from oblixd.sessions.storage.schema import number_key
from oblixd.sessions.turns import check_free
from oblixd.sessions.validation import (
    MAX_MESSAGES,
    check_choice,
    check_client_data,
    check_count,
    check_page_size,
    check_parts,
    check_sequence,
    check_sequences,
)
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

DELETE_BATCH = 500
"""Messages that one transaction deletes where all from one on go: no writer waits long for it."""
DEFAULT_VERSIONS = 100
_NEWEST = 2**64 - 1

Choose = Callable[[Transaction, Entry], list[int]]
"""The sequences that a step deletes, beside those that belong to them."""


@dataclass(slots=True)
class _Deleted:
    """What a deletion took, the newest first."""

    messages: list[messages_pb2.Message] = field(default_factory=list)
    count: int = 0
    _room: int = MAX_PAGE_BYTES

    def add(self, newest_first: Iterable[messages_pb2.Message], count: int) -> None:
        """Take in what one step deleted, which is older than what is here, while there is room."""
        self.count += count
        for message in newest_first:
            self._room -= message.ByteSize()
            if self.messages and (self._room < 0 or len(self.messages) >= MAX_MESSAGES):
                self._room = -1
                return
            self.messages.append(message)


async def delete_messages(
    db: SessionDb, request: sessions_pb2.DeleteMessagesRequest
) -> sessions_pb2.DeleteMessagesResponse:
    """Delete what a request names. See `Sessions.delete_messages`."""
    check_choice(
        sequences=bool(request.sequences), from_sequence=bool(request.from_sequence), last=bool(request.last)
    )
    entry, deleted = db.entry(request.session_id), _Deleted()
    if request.from_sequence:
        check_sequence(request.from_sequence, "from_sequence")
        await _delete_from(db, entry, request, deleted)
    else:
        deleted.add(*await _delete(db, entry.ref, _chooser(db, request), request.exact))
    return sessions_pb2.DeleteMessagesResponse(
        messages=reversed(deleted.messages), deleted_count=deleted.count
    )


async def _delete_from(
    db: SessionDb, entry: Entry, request: sessions_pb2.DeleteMessagesRequest, deleted: _Deleted
) -> None:
    """Delete in steps from the end, each whole: what is left is a conversation at any moment."""
    end, least = entry.progress.next_sequence, max(request.from_sequence, first_of(entry.progress))
    while True:
        start = max(least, end - DELETE_BATCH)
        sequences = list(range(start, end))
        deleted.add(*await _delete(db, entry.ref, _always_choose(sequences), request.exact))
        end = start
        if end <= least:
            break
    while await db.write(entry.ref, partial(_drop_leading, db, entry.ref), frees=True):
        pass


def _drop_leading(db: SessionDb, ref: SessionKey, txn: Transaction) -> bool:
    """Take one step. True while there is more."""
    progress = db.headers.progress(txn, ref)
    is_more = db.message_table.drop_leading(txn, ref.number, progress)
    db.headers.put_progress(txn, ref, progress)
    return is_more


def _always_choose(sequences: list[int]) -> Choose:
    return lambda _txn, _entry: sequences


def _chooser(db: SessionDb, request: sessions_pb2.DeleteMessagesRequest) -> Choose:
    if request.last:
        check_count(request.last, "last")
        return lambda txn, entry: _last_sequences(db, txn, entry, request.last)
    check_sequences(request.sequences)
    return lambda txn, entry: _named_sequences(db, txn, entry, request.sequences)


def _last_sequences(db: SessionDb, txn: Transaction, entry: Entry, count: int) -> list[int]:
    """Return the sequences of the last messages, also of damaged ones."""
    sequences: list[int] = []
    wanted, sequence = min(count, entry.progress.message_count), entry.progress.next_sequence
    while len(sequences) < wanted and sequence > 1:
        sequence -= 1
        if _is_there(db, txn, entry, sequence):
            sequences.append(sequence)
    return sequences


def _named_sequences(db: SessionDb, txn: Transaction, entry: Entry, sequences: Iterable[int]) -> list[int]:
    result = list(sequences)
    for sequence in result:
        if not _is_there(db, txn, entry, sequence):
            raise message_not_found(entry.ref, sequence)
    return result


def _is_there(db: SessionDb, txn: Transaction, entry: Entry, sequence: int) -> bool:
    """Return whether a message stands at a sequence. Damaged ones count: deleting one mends its session."""
    if sequence >= entry.progress.next_sequence:
        return False
    try:
        return db.message_table.payload(txn, entry.number, entry.progress, sequence) is not None
    except DataLossError:
        return True


async def _delete(
    db: SessionDb, ref: SessionKey, choose: Choose, exact: bool
) -> tuple[list[messages_pb2.Message], int]:
    """Delete in one step; return the readable messages, newest first, and the count of all."""
    now_us = db.clock()

    def write(txn: Transaction) -> tuple[list[messages_pb2.Message], int]:
        entry = db.headers.entry(txn, ref)
        check_free(entry)
        sequences = choose(txn, entry)
        if not exact:
            sequences = with_counterparts(db, txn, (ref.number, entry.progress), sequences)
        messages = list(_read_messages(db, txn, ref.number, sorted(set(sequences), reverse=True)))
        count = db.remove_messages(txn, ref, entry.progress, sequences)
        if count:
            db.headers.touch(txn, ref, entry.progress, now_us)
        return messages, count

    done = await db.write(ref, write, frees=True)
    db.tell_removed(ref)
    return done


def _read_messages(
    db: SessionDb, txn: Transaction, number: int, sequences: Iterable[int]
) -> Iterator[messages_pb2.Message]:
    """Messages as far as an answer has room for them."""
    room = MAX_PAGE_BYTES
    for sequence in sequences:
        if room < 0:
            return
        with suppress(DataLossError):
            record = db.message_table.get(txn, number, sequence)
            if record is not None:
                room -= record.ByteSize()
                yield message_from(record, sequence)


async def edit_message(db: SessionDb, request: sessions_pb2.EditMessageRequest) -> messages_pb2.Message:
    """Make a new version of a message. See `Sessions.edit_message`."""
    ref = db.ref(request.session_id)
    _check_edit(request)
    now_us = db.clock()

    def write(txn: Transaction) -> messages_pb2.Message:
        entry = db.headers.entry(txn, ref)
        check_free(entry)
        old = _current_record(db, txn, entry, request.sequence)
        new = _new_version(db, txn, ref, old, request)
        together = with_counterparts(db, txn, (ref.number, entry.progress), [request.sequence])
        _check_calls(old, new, are_answered=len(together) > 1)
        db.versions.put(txn, ref.number, request.sequence, old)
        db.message_table.replace(txn, ref.number, entry.progress, request.sequence, new)
        entry.progress.revised += 1
        db.headers.touch(txn, ref, entry.progress, now_us)
        return message_from(new, request.sequence)

    return await db.write(ref, write)


def _check_edit(request: sessions_pb2.EditMessageRequest) -> None:
    check_sequences([request.sequence], "sequence")
    check_choice(parts=bool(request.parts), restore_version=request.HasField("restore_version"))
    check_parts(request.parts, "parts")
    check_client_data(request.client_data, "client_data")


def _current_record(db: SessionDb, txn: Transaction, entry: Entry, sequence: int) -> records.MessageRecord:
    payload = None
    if sequence < entry.progress.next_sequence:
        payload = db.message_table.payload(txn, entry.number, entry.progress, sequence)
    if payload is None:
        raise message_not_found(entry.ref, sequence)
    return records.MessageRecord.FromString(payload)


def _new_version(
    db: SessionDb,
    txn: Transaction,
    ref: SessionKey,
    old: records.MessageRecord,
    request: sessions_pb2.EditMessageRequest,
) -> records.MessageRecord:
    if request.HasField("version") and request.version != old.version:
        raise _mismatch_error(ref, request, old.version)
    new = records.MessageRecord()
    new.CopyFrom(old)
    if request.HasField("restore_version"):
        new = _older_version(db, txn, ref, request)
    else:
        del new.parts[:]
        new.parts.extend(part_records(request.parts))
        # A signature of other words is none.
        new.ClearField("provider_state")
        new.status = records.STATUS_RECORD_COMPLETE
    if request.HasField("client_data"):
        new.client_data = request.client_data
    new.version = old.version + 1
    new.ClearField("exclusion")
    return new


def _older_version(
    db: SessionDb, txn: Transaction, ref: SessionKey, request: sessions_pb2.EditMessageRequest
) -> records.MessageRecord:
    found = None
    if request.restore_version >= 0:
        found = db.versions.get(txn, ref.number, request.sequence, request.restore_version)
    if found is None:
        raise NotFoundError(
            "VERSION_NOT_FOUND",
            f"Message {request.sequence} of session {ref.id} has no older version {request.restore_version}. "
            "List its versions to see which there are.",
            session_id=ref.id,
            sequence=request.sequence,
            version=request.restore_version,
        )
    return found


def _mismatch_error(ref: SessionKey, request: sessions_pb2.EditMessageRequest, current: int) -> AbortedError:
    return AbortedError(
        "VERSION_MISMATCH",
        f"Message {request.sequence} of session {ref.id} was changed in between. Read it again, then repeat "
        "the edit.",
        session_id=ref.id,
        sequence=request.sequence,
        given=request.version,
        current=current,
    )


def _check_calls(old: records.MessageRecord, new: records.MessageRecord, *, are_answered: bool) -> None:
    """No call loses its result by an edit, and no result its call."""
    calls_stay = not are_answered or call_ids(old) == call_ids(new)
    if not (calls_stay and result_ids(old) == result_ids(new)):
        raise invalid_field(
            "TOOL_CALLS_CHANGED",
            "parts",
            "must keep the tool calls that have results, and the tool results, by their call ids. "
            "Delete the message to remove both halves.",
            given=", ".join(sorted(call_ids(new) | result_ids(new))),
        )


def message_versions(
    db: SessionDb, request: sessions_pb2.ListMessageVersionsRequest
) -> sessions_pb2.ListMessageVersionsResponse:
    """Return a page of the versions before the current one. See `Sessions.message_versions`."""
    ref = db.ref(request.session_id)
    check_sequences([request.sequence], "sequence")
    size = check_page_size(request.page_size, DEFAULT_VERSIONS)
    query = b"versions" + number_key(ref.number) + number_key(request.sequence)
    position = page_position(query, request.page_token)
    before = int.from_bytes(position, "big") if position else _NEWEST
    response = sessions_pb2.ListMessageVersionsResponse()
    with db.read(ref) as txn:
        entry = db.headers.entry(txn, ref)
        if not _is_there(db, txn, entry, request.sequence):
            raise message_not_found(ref, request.sequence)
        room = MAX_PAGE_BYTES
        for record in db.versions.descending(txn, ref.number, request.sequence, before):
            message = message_from(record, request.sequence)
            room -= message.ByteSize()
            if len(response.messages) == size or (response.messages and room < 0):
                response.next_page_token = page_token(query, number_key(response.messages[-1].version))
                break
            response.messages.append(message)
    return response
