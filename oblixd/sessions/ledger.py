"""What every operation on conversations stands on: the store, what may be done in it, and the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from oblixd.sessions.catalog import Catalog, Entry, Ref
from oblixd.sessions.tables import Tables, number_key
from oblixd.sessions.times import now_us
from oblixd.sessions.transcript import Transcript
from oblixd.sessions.validation import check_session_id
from oblixd.store import Store, Transaction
from oblixd.store.v1 import records_pb2 as records


@dataclass(frozen=True, slots=True)
class Ledger:
    """The conversations on disk."""

    store: Store
    tables: Tables
    catalog: Catalog
    transcript: Transcript
    clock: Callable[[], int]
    """The wall clock in microseconds since 1970. May step back."""

    @classmethod
    def of(cls, store: Store, clock: Callable[[], int] = now_us) -> Ledger:
        """The conversations in an open store."""
        tables = Tables.of(store)
        return cls(store, tables, Catalog(tables), Transcript(tables), clock)

    def ref(self, session_id: str, field: str = "session_id") -> Ref:
        """The session of an id, in a read of its own.

        InvalidArgumentError where the id is malformed, NotFoundError where it is unknown.
        """
        check_session_id(session_id, field)
        with self.store.read() as txn:
            return self.catalog.ref(txn, session_id)

    def entry(self, session_id: str, field: str = "session_id") -> Entry:
        """The session's records, in a read of their own. Errors as `ref`."""
        check_session_id(session_id, field)
        with self.store.read() as txn:
            return self.catalog.entry(txn, self.catalog.ref(txn, session_id))

    def begin_turn(
        self, txn: Transaction, ref: Ref, progress: records.ProgressRecord, running: records.RunningTurn
    ) -> None:
        """Keeps a place for the answer. The caller touches the session."""
        running.answer_sequence = progress.next_sequence
        progress.next_sequence += 1
        progress.running.CopyFrom(running)
        self.tables.running.put(txn, number_key(ref.number), b"")

    def end_turn(
        self,
        txn: Transaction,
        ref: Ref,
        progress: records.ProgressRecord,
        record: records.MessageRecord | None,
    ) -> None:
        """Writes the answer over its checkpoints and clears the running turn. None: leaves no answer."""
        sequence = progress.running.answer_sequence
        if record is not None:
            if self.transcript.get(txn, ref.number, sequence) is None:
                progress.message_count += 1
            self.transcript.put(txn, ref.number, sequence, record)
        self.transcript.drop_pieces(txn, ref.number, sequence)
        progress.ClearField("running")
        self.tables.running.delete(txn, number_key(ref.number))
        self.catalog.touch(txn, ref, progress, self.clock())
