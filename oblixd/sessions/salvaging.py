"""Makes a store of the records that could be saved from a damaged file: every index is made anew.

A session is kept when its header and its progress record are there. When messages of it are
missing, it is kept, too: each read of it names them, and deleting those messages mends it. A
session without one of its two records is not kept, and is named: what is missing, such as
whether it is local-only, can't be known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from oblixd.sessions.fsck import Problem, problems
from oblixd.sessions.storage.changes import STORE_ID
from oblixd.sessions.storage.headers import NEXT_NUMBER, source_key
from oblixd.sessions.storage.index import DELETED, LABEL_BYTES, partition_of, split
from oblixd.sessions.storage.keys import pack
from oblixd.sessions.storage.schema import NUMBER_BYTES, TABLE_NAMES, number_key, place_key, session_id_of
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

    whole: int
    """Sessions that are as they were, with the deleted ones that can be brought back."""
    problems: list[Problem]
    """What is damaged in the others, and which are lost."""
    kept: Path
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
        offline.change(draft, lambda file: lost.extend(mend(file)))
        found = [*lost, *problems(draft)]
        with offline.opened(draft) as file:
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


def mend(file: File) -> list[Problem]:
    """Make the tables of a file agree. Return the sessions that are lost, with why."""
    return _Mender(file).mend()


class _Mender:
    def __init__(self, file: File) -> None:
        self._txn = file.txn
        self._tables = file.tables
        self._sessions: dict[bytes, _Session] = {}
        self._names: dict[bytes, str] = {}
        """The ids that the damaged indexes know, by number."""

    def mend(self) -> list[Problem]:
        self._names = dict(self._known_names())
        self._sessions = dict(self._complete_sessions())
        lost = list(self._drop_incomplete())
        for name in _INDEXES:
            self._table(name).clear(self._txn)
        for number, session in self._sessions.items():
            self._index(number, session)
        self._index_requests()
        self._count_labels()
        self._continue_numbers()
        # What somebody noted of this store, by revision, may not hold any more (see `backup.make_another`).
        self._table("counters").delete(self._txn, STORE_ID)
        return lost

    def _table(self, name: str) -> Table:
        return self._tables[name]

    def _items(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        return self._table(name).ascending(self._txn, b"")

    def _known_names(self) -> Iterator[tuple[bytes, str]]:
        for key, number in self._items("recency"):
            yield number, session_id_of(key[len(DELETED) :])
        for name in ("deleted_ids", "ids"):
            for key, number in self._items(name):
                yield number, key.decode()

    def _complete_sessions(self) -> Iterator[tuple[bytes, _Session]]:
        for number, payload in self._items("deleted"):
            deleted = records.DeletedRecord.FromString(payload)
            yield number, _Session(deleted.header, deleted.progress, deleted.delete_us)
        for number, payload in self._items("sessions"):
            progress = self._table("progress").get(self._txn, number)
            if progress is not None:
                header = records.SessionRecord.FromString(payload)
                yield number, _Session(header, records.ProgressRecord.FromString(progress), None)

    def _drop_incomplete(self) -> Iterator[Problem]:
        """What belongs to no complete session is swept by the daemon, bit by bit."""
        for number, name in self._names.items():
            if number not in self._sessions:
                yield Problem(name, "its header is lost; it is only in the old file")
        for number in self._numbers():
            if number in self._sessions:
                continue
            for name in ("sessions", "progress"):
                if self._table(name).delete(self._txn, number) and number not in self._names:
                    yield Problem("", f"session number {int.from_bytes(number, 'big')} has lost its header")
            self._table("garbage").put(self._txn, number, b"")

    def _numbers(self) -> set[bytes]:
        """Every number that something is kept under."""
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
            self._put("recency", DELETED + place_key(session.delete_us, header.id), number)
            return
        self._put("ids", header.id.encode(), number)
        partition, place = partition_of(progress), place_key(progress.update_us, header.id)
        self._put("recency", partition + place, number)
        for label in split(progress.labels):
            self._put("labels", partition + label + place, number)
        if header.source_id:
            self._put("sources", source_key(header) + number, b"")
        if header.HasField("retention"):
            self._put("retentions", number, b"")
        if progress.HasField("running"):
            self._put("running", number, b"")
            self._keep_running(number, progress.running)

    def _keep_running(self, number: bytes, running: records.RunningTurn) -> None:
        """A turn is ended at the start through its request's record, so there has to be one."""

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
