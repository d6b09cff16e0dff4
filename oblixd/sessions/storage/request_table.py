"""What became of the requests whose turns the sessions hold: each is kept once, for the session's life."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

from oblix.v1.executions_pb2 import FINISH_REASON_UNSPECIFIED, FinishReason
from oblix.v1.messages_pb2 import Message, MessageStatus

from oblixd import errors
from oblixd.errors import AlreadyExistsError, OblixdError
from oblixd.sessions.storage.keys import pack
from oblixd.sessions.storage.schema import NUMBER_BYTES, Tables, number_key
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

_KINDS = {kind.__name__: kind for kind in OblixdError.__subclasses__() if kind.__module__ == errors.__name__}


@dataclass(frozen=True, slots=True)
class TurnCompletion:
    """How a turn ended, beside its answer: a client that sends the same request again gets it once more."""

    error: OblixdError | None = None
    """What it failed with. It comes back with class, reason, message and metadata."""
    finish_reason: FinishReason.ValueType = FINISH_REASON_UNSPECIFIED
    """Why the answer ended."""
    report: bytes = field(default=b"", repr=False)
    """What else is told, in the words of who ran it; kept as it is."""


UNKNOWN_COMPLETION = TurnCompletion()


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """What a session holds of a request."""

    session_id: str
    fingerprint: bytes
    """As it was given at the begin. Empty where it was not known: the turn is older than fingerprints."""
    status: MessageStatus.ValueType
    """STREAMING while it runs; COMPLETE, CANCELLED, FAILED, or INTERRUPTED by the daemon's end."""
    question: list[Message]
    """The question's messages as they were recorded."""
    answer: Message | None
    """The answer as far as it was recorded. None: nothing of one came."""
    completion: TurnCompletion


class IdempotencyTable:
    """The entries of requests; every method is one step inside the caller's transaction."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def get(self, txn: Transaction, request_id: str) -> records.RequestRecord | None:
        """Return the entry of a request, or None."""
        payload = self._tables.requests.get(txn, pack(request_id))
        return None if payload is None else records.RequestRecord.FromString(payload)

    def check_new(self, txn: Transaction, request_id: str) -> None:
        """AlreadyExistsError where a session holds the request's turn, also a deleted one."""
        if self._tables.requests.get(txn, pack(request_id)) is not None:
            raise reused_error(request_id)

    def begin(self, txn: Transaction, request_id: str, record: records.RequestRecord) -> None:
        """Note that a turn runs. Errors as `check_new`."""
        self.check_new(txn, request_id)
        record.status = records.STATUS_RECORD_STREAMING
        self._put(txn, request_id, record)
        self._tables.turns.put(txn, number_key(record.number) + pack(request_id), b"")

    def end(self, txn: Transaction, request_id: str, completion_record: records.RequestRecord) -> None:
        """Note how a turn ended, as `ending` says it."""
        record = self.get(txn, request_id)
        if record is None:
            raise self._tables.requests.missing_error(pack(request_id))
        record.MergeFrom(completion_record)
        self._put(txn, request_id, record)

    def forget(self, txn: Transaction, number: int, limit: int) -> bool:
        """Remove up to `limit` of a session's entries. True while there are more."""
        keys = list(islice(self._tables.turns.keys(txn, number_key(number)), limit))
        for key in keys:
            self._tables.requests.delete(txn, key[NUMBER_BYTES:])
            self._tables.turns.delete(txn, key)
        return len(keys) == limit

    def _put(self, txn: Transaction, request_id: str, record: records.RequestRecord) -> None:
        self._tables.requests.put(txn, pack(request_id), record.SerializeToString())


def completion_record(
    status: records.StatusRecord.ValueType, completion: TurnCompletion = UNKNOWN_COMPLETION
) -> records.RequestRecord:
    """Return what an entry gets when its turn has ended."""
    record = records.RequestRecord(
        status=status, finish_reason=completion.finish_reason, report=completion.report
    )
    if completion.error is not None:
        record.failure.CopyFrom(_failure_record(completion.error))
    return record


def completion_of(record: records.RequestRecord) -> TurnCompletion:
    """Return the outcome that an entry holds."""
    error = _error(record.failure) if record.HasField("failure") else None
    return TurnCompletion(error, FinishReason.ValueType(record.finish_reason), record.report)


def _failure_record(error: OblixdError) -> records.FailureRecord:
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    return records.FailureRecord(
        kind=kind.__name__, reason=error.reason, message=error.message, metadata=error.metadata
    )


def _error(record: records.FailureRecord) -> OblixdError:
    # A newer daemon may have had a class that this one lacks.
    kind = _KINDS.get(record.kind, errors.InternalError)
    error = kind(record.reason, record.message)
    error.metadata = dict(record.metadata)
    return error


def reused_error(request_id: str) -> AlreadyExistsError:
    """Return the error for an id that another request had."""
    return AlreadyExistsError(
        "REQUEST_ID_REUSED",
        f"request_id {request_id!r} belongs to another request: use a new one for each prompt.",
        request_id=request_id,
    )
