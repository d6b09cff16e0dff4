"""Makes a store of the records that could be saved from a damaged file: every index is made anew.

- A session with missing messages is kept. Each read of it names them, and deleting them mends it.
- A lost progress record is made anew, when no message can be missing: the messages say what was in it.
- A session whose header is lost is kept under its id and refused until it is deleted: nobody knows
  its system message, or whether it is local-only.
- A deleted session of which a record is lost is gone, and so is one whose id nobody knows any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from oblixd.sessions.fsck import Problem, entries_of, problems
from oblixd.sessions.storage.changes import STORE_ID
from oblixd.sessions.storage.headers import NEXT_NUMBER
from oblixd.sessions.storage.index import DELETED, LABEL_BYTES, labels_of
from oblixd.sessions.storage.keys import new_id, pack, unpack
from oblixd.sessions.storage.messages import TOMBSTONE
from oblixd.sessions.storage.schema import (
    NUMBER_BYTES,
    TABLE_NAMES,
    number_key,
    position_key,
    sequence_of,
    session_id_of,
    time_of,
)
from oblixd.store import offline
from oblixd.store.inspection import DATA_FILE, damage_error
from oblixd.store.offline import File
from oblixd.store.rebuilding import bring_up, rebuild
from oblixd.store.restore import replace
from oblixd.store.table import Table
from oblixd.store.v1 import records_pb2 as records

_INDEXES = (
    "ids",
    "recency",
    "labels",
    "label_counts",
    "deleted_ids",
    "sources",
    "retentions",
    "running",
    "turns",
)
"""Tables that hold nothing that the others do not say."""
_BY_NUMBER = ("sessions", "progress", "messages", "versions", "pieces", "deleted", "garbage")

DRAFT = "salvaging.mdb"


class Salvage(NamedTuple):
    """What became of a damaged store."""

    whole_count: int
    """Sessions that are as they were, with the deleted ones that can be brought back."""
    problems: list[Problem]
    """What is damaged in the others, and which are lost."""
    damaged_file: Path
    """Where the damaged file is now."""


def salvage(directory: Path, kept: Path, tables: Iterable[str], *, careful: bool = False) -> Salvage:
    """Put a new file with all that is sound in the place of a damaged one, which is kept.

    The caller has the directory's claim. Killed at any moment this leaves the old file or the new
    one. DataLossError where no session can be saved, and, if `careful`, where nobody can know which
    sessions have lost something. Then nothing is changed.
    """
    data, draft = directory / DATA_FILE, directory / DRAFT
    lost: list[Problem] = []
    try:
        damage = rebuild(data, draft, careful=careful)
        bring_up(draft, (*TABLE_NAMES, *tables))
        offline.change(draft, lambda file: lost.extend(mend(file, damage)))
        found = [*lost, *problems(draft)]
        with offline.open_file(draft) as file:
            count = file.tables["ids"].count(file.txn) + file.tables["deleted_ids"].count(file.txn)
        if not count:
            raise damage_error(data, "no session in it can be saved")
        replace(draft, directory, kept)
    finally:
        draft.unlink(missing_ok=True)
    hurt = {problem.session_id for problem in found if problem.session_id}
    whole = count - len(hurt - {problem.session_id for problem in lost})
    return Salvage(whole, found or [Problem("", item.what) for item in damage], kept)


class _Session(NamedTuple):
    header: records.SessionRecord
    progress: records.ProgressRecord
    delete_us: int | None
    """When it was deleted. None: it is not."""


def mend(file: File, damage: Sequence[offline.Damage] = ()) -> list[Problem]:
    """Make the tables of a file agree. Return the sessions that are gone. `damage`: what was lost before."""
    is_whole = not any(item.table == "messages" or item.what.startswith("messages") for item in damage)
    return _Mender(file, are_messages_whole=is_whole).mend()


class _Mender:
    def __init__(self, file: File, *, are_messages_whole: bool) -> None:
        self._txn = file.txn
        self._tables = file.tables
        self._are_messages_whole = are_messages_whole
        self._sessions: dict[bytes, _Session] = {}
        self._names: dict[bytes, str] = {}
        """The ids that the indexes and headers know, by number."""
        self._deleted_names: dict[bytes, str] = {}
        """The same of deleted sessions."""
        self._times: dict[bytes, int] = {}
        """When sessions were changed last, as far as the index knows."""
        self._running_turns: dict[bytes, tuple[str, records.RequestRecord]] = {}
        """The requests whose turns run, by the session's number."""

    def mend(self) -> list[Problem]:
        self._read_indexes()
        self._sessions = dict(self._kept_sessions())
        gone = list(self._drop_the_rest())
        for name in _INDEXES:
            self._table(name).clear(self._txn)
        for number, session in self._sessions.items():
            self._index(number, session)
        self._index_requests()
        self._count_labels()
        self._continue_numbers()
        # What somebody noted of this store, by revision, may not hold any more (see `forget_store_id`).
        self._table("counters").delete(self._txn, STORE_ID)
        return gone

    def _table(self, name: str) -> Table:
        return self._tables[name]

    def _items(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        return self._table(name).scan(self._txn, b"")

    def _read_indexes(self) -> None:
        for key, number in self._items("recency"):
            names = self._deleted_names if key.startswith(DELETED) else self._names
            names[number] = session_id_of(key[len(DELETED) :])
            self._times[number] = time_of(key[len(DELETED) :])
        for key, number in self._items("deleted_ids"):
            self._deleted_names[number] = key.decode()
        for key, number in self._items("ids"):
            self._names[number] = key.decode()
        for number, payload in self._items("sessions"):
            self._names[number] = records.SessionRecord.FromString(payload).id
        for request_id, payload in self._items("requests"):
            request = records.RequestRecord.FromString(payload)
            if request.status == records.STATUS_RECORD_STREAMING:
                self._running_turns[number_key(request.number)] = unpack(request_id), request

    def _kept_sessions(self) -> Iterator[tuple[bytes, _Session]]:
        for number, payload in self._items("deleted"):
            deleted = records.DeletedRecord.FromString(payload)
            yield number, _Session(deleted.header, deleted.progress, deleted.delete_us)
        deleted_ones = set(self._table("deleted").keys(self._txn, b""))
        for number, name in self._names.items():
            if number not in deleted_ones:
                yield number, self._session(number, name)

    def _session(self, number: bytes, name: str) -> _Session:
        """Return a session with what is known of it. What had to be made up is written."""
        header_bytes = self._table("sessions").get(self._txn, number)
        progress_bytes = self._table("progress").get(self._txn, number)
        header = records.SessionRecord.FromString(header_bytes or b"")
        if progress_bytes is not None:
            progress = records.ProgressRecord.FromString(progress_bytes)
        else:
            progress, is_sure = self._progress_of(number, header)
            header.is_lost = header.is_lost or not is_sure
        if header_bytes is None or header.is_lost:
            header = records.SessionRecord(id=name, local_only=True, is_lost=True)
            progress.labels, progress.archived = b"", False
        self._put("sessions", number, header.SerializeToString())
        self._put("progress", number, progress.SerializeToString())
        return _Session(header, progress, None)

    def _progress_of(
        self, number: bytes, header: records.SessionRecord
    ) -> tuple[records.ProgressRecord, bool]:
        """Return a lost progress record as the messages have it, and whether none of them can be missing."""
        found = list(self._table("messages").scan(self._txn, number))
        sequences = [sequence_of(key) for key, _ in found]
        progress = records.ProgressRecord(
            update_us=self._times.get(number, header.create_us),
            next_sequence=max(sequences, default=0) + 1,
            message_count=sum(payload != TOMBSTONE for _, payload in found),
            labels=b"".join(labels_of(header.metadata)),
            archived=header.archived,
        )
        self._resume(number, progress, dict(zip(sequences, (payload for _, payload in found), strict=True)))
        reserved = progress.running.answer_sequence
        missing = set(range(1, progress.next_sequence)) - {*sequences, reserved}
        return progress, self._are_messages_whole and not missing

    def _resume(self, number: bytes, progress: records.ProgressRecord, messages: dict[int, bytes]) -> None:
        """Put the turn that was running into a progress record that is made anew: the start ends it."""
        if number not in self._running_turns:
            return
        request_id, request = self._running_turns[number]
        answer = records.MessageRecord.FromString(messages.get(request.answer_sequence, b""))
        progress.running.request_id = request_id
        progress.running.answer_sequence = request.answer_sequence
        progress.running.answer_id = answer.id or pack(new_id())
        progress.next_sequence = max(progress.next_sequence, request.answer_sequence + 1)

    def _drop_the_rest(self) -> Iterator[Problem]:
        """Yield what belongs to no session that is kept is swept by the daemon, bit by bit."""
        for number, name in self._deleted_names.items():
            if number not in self._sessions:
                yield Problem(name, "it was deleted, and can't be brought back any more")
        for number in self._numbers():
            if number in self._sessions:
                continue
            if self._table("progress").delete(self._txn, number):
                yield Problem(
                    "", f"session number {int.from_bytes(number, 'big')} has lost its header and id"
                )
            self._table("garbage").put(self._txn, number, b"")

    def _numbers(self) -> set[bytes]:
        """List every number that something is kept under."""
        return {number for name in _BY_NUMBER for number in self._numbers_in(self._table(name))}

    def _numbers_in(self, table: Table) -> Iterator[bytes]:
        start = b"\0"
        while key := next(table.keys(self._txn, b"", start), None):
            yield (number := key[:NUMBER_BYTES])
            start = number_key(int.from_bytes(number, "big") + 1)

    def _index(self, number: bytes, session: _Session) -> None:
        header, progress = session.header, session.progress
        self._table("garbage").delete(self._txn, number)
        if session.delete_us is not None:
            self._put("deleted_ids", header.id.encode(), number)
            self._put("recency", DELETED + position_key(session.delete_us, header.id), number)
            return
        for name, key, value in entries_of(number, header, progress):
            self._put(name, key, value)
        if progress.HasField("running"):
            self._keep_running(number, progress.running)

    def _keep_running(self, number: bytes, running: records.RunningTurn) -> None:
        """Add the record of a running request: at the start a turn is ended through it."""
        key = pack(running.request_id)
        if self._table("requests").get(self._txn, key) is None:
            record = records.RequestRecord(
                number=int.from_bytes(number, "big"),
                question_sequence=running.answer_sequence,
                answer_sequence=running.answer_sequence,
                status=records.STATUS_RECORD_STREAMING,
            )
            self._put("requests", key, record.SerializeToString())

    def _index_requests(self) -> None:
        orphans = []
        for request_id, payload in self._items("requests"):
            number = number_key(records.RequestRecord.FromString(payload).number)
            if number in self._sessions:
                self._put("turns", number + request_id, b"")
            else:
                orphans.append(request_id)
        for request_id in orphans:
            self._table("requests").delete(self._txn, request_id)

    def _count_labels(self) -> None:
        counts: dict[bytes, int] = {}
        for key in self._table("labels").keys(self._txn, b""):
            label = key[: len(DELETED) + LABEL_BYTES]
            counts[label] = counts.get(label, 0) + 1
        for label, count in counts.items():
            self._put("label_counts", label, number_key(count))

    def _continue_numbers(self) -> None:
        used = max((int.from_bytes(number, "big") for number in self._numbers()), default=0)
        counters = self._table("counters")
        following = int.from_bytes(counters.get(self._txn, NEXT_NUMBER) or b"\1", "big")
        counters.put(self._txn, NEXT_NUMBER, number_key(max(following, used + 1)))

    def _put(self, name: str, key: bytes, payload: bytes) -> None:
        self._table(name).put(self._txn, key, payload)
