"""Answers anew: a question that a session holds is answered once more, in the old answer's place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile

from oblix.v1 import messages_pb2

from oblixd.errors import FailedPreconditionError, NotFoundError
from oblixd.sessions.editing.tool_pairs import Found, call_ids, parse_records, result_ids
from oblixd.sessions.storage.db import SessionDb
from oblixd.sessions.storage.headers import Entry
from oblixd.sessions.storage.keys import new_id, pack
from oblixd.sessions.storage.records import message_from
from oblixd.sessions.turns import Turn, write_beginning
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

REACH = 1000
"""How many messages from the end the named one can stand, and how many a question can have."""
_ASKS = (records.ROLE_RECORD_USER, records.ROLE_RECORD_TOOL)


@dataclass(slots=True)
class Target:
    """What is answered anew."""

    question: list[Found]
    """Its messages in order."""
    answer: Found | None
    """What is replaced. None: the question has no answer."""
    results: list[int] = field(default_factory=list)
    """Where the results of the tools stand that the answer called."""


def question_of(db: SessionDb, session_id: str, message_id: str) -> list[messages_pb2.Message]:
    """Return the question that would be answered anew now. See `Sessions.question_of`."""
    entry = db.entry(session_id)
    with db.read(entry.ref) as txn:
        target = _target(db, txn, db.headers.entry(txn, entry.ref), message_id)
    return _messages(target)


async def begin_again(
    db: SessionDb, session_id: str, request_id: str, message_id: str, fingerprint: bytes
) -> Turn:
    """Begin a turn that answers a question anew. See `Sessions.begin_turn_again`."""
    now, new_answer_id = db.clock(), pack(new_id())
    running = records.RunningTurn(request_id=request_id, answer_id=new_answer_id)

    def write(txn: Transaction, entry: Entry) -> tuple[list[messages_pb2.Message], Entry]:
        target = _target(db, txn, entry, message_id)
        # This step may be repeated: nothing of its first run must stay.
        running.version, running.answer_id = 0, new_answer_id
        running.replaced_results[:] = target.results
        if target.answer is not None:
            _put_aside(db, txn, entry, target.answer, running)
        first, _ = target.question[0]
        request = records.RequestRecord(number=entry.number, question_sequence=first, fingerprint=fingerprint)
        db.begin_turn(txn, entry.ref, entry.progress, running, request)
        db.headers.touch(txn, entry.ref, entry.progress, now)
        return _messages(target), entry

    question, entry = await write_beginning(db, session_id, running, write)
    return Turn(db, entry.ref, running, entry.session(), question)


def _put_aside(
    db: SessionDb, txn: Transaction, entry: Entry, answer: Found, running: records.RunningTurn
) -> None:
    """Make the old answer a version, and its place the new one's."""
    sequence, old = answer
    db.versions.put(txn, entry.number, sequence, old)
    db.message_table.delete(txn, entry.number, sequence)
    entry.progress.message_count -= 1
    entry.progress.rewritten += 1
    running.answer_sequence, running.answer_id, running.version = sequence, old.id, old.version + 1


def _target(db: SessionDb, txn: Transaction, entry: Entry, message_id: str) -> Target:
    before = parse_records(db.message_table.scan_back(txn, entry.number, entry.progress), REACH)
    named = _messages_from(entry, before, message_id)
    question = list(takewhile(_asks, named))
    rest = named[len(question) :]
    question = [*reversed(list(takewhile(_asks, before))), *question]
    answer, results = (rest[0], rest[1:]) if rest else (None, [])
    if answer is not None and not _is_last(answer, results):
        raise _not_last_error(entry, message_id)
    if not question:
        raise _no_question(entry, message_id)
    return Target(question, answer, [sequence for sequence, _ in results])


def _messages_from(entry: Entry, before: Iterator[Found], message_id: str) -> list[Found]:
    """Return the named message and those after it, in order."""
    packed, found = pack(message_id), list[Found]()
    for item in before:
        found.append(item)
        if item[1].id == packed:
            return found[::-1]
    raise NotFoundError(
        "MESSAGE_NOT_FOUND",
        f"Session {entry.header.id} has no message {message_id[:128]!r} among its last {REACH:,}. "
        "List its messages to see which there are.",
        session_id=entry.header.id,
        message_id=message_id,
    )


def _asks(found: Found) -> bool:
    return found[1].role in _ASKS


def _is_last(answer: Found, after: list[Found]) -> bool:
    """Return whether nothing follows an answer but the results of its own calls."""
    _, record = answer
    calls = call_ids(record)
    return record.role == records.ROLE_RECORD_ASSISTANT and all(
        (results := result_ids(later)) and results <= calls for _, later in after
    )


def _messages(target: Target) -> list[messages_pb2.Message]:
    return [message_from(record, sequence) for sequence, record in target.question]


def _not_last_error(entry: Entry, message_id: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        "MESSAGE_NOT_LAST",
        f"Message {message_id[:128]} of session {entry.header.id} is not in its last question and answer: "
        "delete what follows, or fork the session up to the answer.",
        session_id=entry.header.id,
        message_id=message_id,
    )


def _no_question(entry: Entry, message_id: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        "NOTHING_TO_ANSWER",
        f"No message of a user or a tool stands before answer {message_id[:128]} of session "
        f"{entry.header.id}: there is no question to answer anew. Send a prompt instead.",
        session_id=entry.header.id,
        message_id=message_id,
    )
