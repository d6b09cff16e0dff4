"""An answer: what of the rows that match is shown, and how."""

from __future__ import annotations

import logging
from pathlib import Path

from oblix.v1 import messages_pb2
from oblix.v1 import sessions_pb2 as pb

from oblixd.errors import DataLossError
from oblixd.sessions.catalog import Entry
from oblixd.sessions.ids import unpack
from oblixd.sessions.labels import split
from oblixd.sessions.ledger import Ledger
from oblixd.sessions.search.asking import Question
from oblixd.sessions.search.layout import TITLE, place_of, standing_of
from oblixd.sessions.search.ranking import Ranked, Scope, ranked
from oblixd.sessions.search.snippets import snippet
from oblixd.sessions.search.texts import text_of
from oblixd.sessions.tables import number_key
from oblixd.sessions.times import timestamp
from oblixd.sessions.tokens import page_token
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

logger = logging.getLogger(__name__)

_PLACE_BYTES = 4


class Finder:
    """Answers questions, each on one thread from its beginning to its end."""

    def __init__(self, ledger: Ledger, path: Path) -> None:
        self._ledger = ledger
        self._path = path

    def find(self, asked: Question) -> pb.SearchMessagesResponse:
        """The hits of one page. sqlite3.DatabaseError where the index is missing or damaged."""
        response = pb.SearchMessagesResponse()
        if not asked.query.units:
            return response
        shown = _Shown(self._ledger, asked)
        wanted = shown.is_wanted if asked.labels else None
        found = ranked(self._path, asked.query.expression, Scope(asked.standings, asked.number, wanted))
        for place in range(_after(found, asked.place), len(found)):
            if len(response.hits) == asked.size:
                response.next_page_token = page_token(asked.identity, _place(found, place - 1))
                break
            if hit := shown.hit(found[place]):
                response.hits.append(hit)
        return response


def _place(found: list[Ranked], at: int) -> bytes:
    return at.to_bytes(_PLACE_BYTES, "big") + number_key(found[at].row)


def _after(found: list[Ranked], place: bytes) -> int:
    """Where the next page begins: behind the page before's last row, wherever that stands by now."""
    if not place:
        return 0
    at, row = int.from_bytes(place[:_PLACE_BYTES], "big"), int.from_bytes(place[_PLACE_BYTES:], "big")
    return next((now for now, hit in enumerate(found) if hit.row == row), at) + 1


class _Shown:
    """What one search may show. The index may be behind; what the store says counts."""

    def __init__(self, ledger: Ledger, asked: Question) -> None:
        self._ledger = ledger
        self._asked = asked
        self._wanted: dict[int, bool] = {}
        self._entries: dict[int, Entry | None] = {}

    def is_wanted(self, number: int) -> bool:
        """Whether a session passes the filter."""
        if number not in self._wanted:
            try:
                self._wanted[number] = self._asked.labels.issubset(self._labels(number))
            except DataLossError as error:
                logger.warning("a session is left out of a search: %s", error.message)
                self._wanted[number] = False
        return self._wanted[number]

    def _labels(self, number: int) -> list[bytes]:
        with self._ledger.store.read() as txn:
            payload = self._ledger.tables.progress.get(txn, number_key(number))
        return split(records.ProgressRecord.FromString(payload or b"").labels)

    def hit(self, found: Ranked) -> pb.SearchHit | None:
        """The hit of a row, or None where there is nothing (any more) to be shown."""
        number, sequence = place_of(found.row)
        try:
            entry, record = self._found(number, sequence)
        except DataLossError as error:
            logger.warning("a hit is left out of a search: %s", error.message)
            return None
        if entry is None:
            return None
        hit = self._of_title(entry) if sequence == TITLE else self._of_message(record)
        if hit is not None:
            hit.session_id, hit.title = entry.header.id, entry.header.title
            hit.sequence, hit.score = sequence, found.score
        return hit

    def _found(self, number: int, sequence: int) -> tuple[Entry | None, records.MessageRecord | None]:
        with self._ledger.store.read() as txn:
            entry = self._entry(txn, number)
            return entry, self._ledger.transcript.get(txn, number, sequence) if entry else None

    def _entry(self, txn: Transaction, number: int) -> Entry | None:
        """A session as it is now; None where it is not there, or not asked for."""
        if number not in self._entries:
            self._entries[number] = self._read(txn, number)
        return self._entries[number]

    def _read(self, txn: Transaction, number: int) -> Entry | None:
        if self._ledger.tables.sessions.get(txn, number_key(number)) is None:
            return None
        entry = self._ledger.catalog.numbered(txn, number)
        is_asked_for = standing_of(entry.header) in self._asked.standings and self._asked.labels.issubset(
            split(entry.progress.labels)
        )
        return entry if is_asked_for else None

    def _of_title(self, entry: Entry) -> pb.SearchHit | None:
        text, spans = snippet(entry.header.title, self._asked.query)
        # It may have been changed since it was indexed.
        if not spans:
            return None
        return pb.SearchHit(create_time=timestamp(entry.progress.update_us), snippet=text, spans=spans)

    def _of_message(self, record: records.MessageRecord | None) -> pb.SearchHit | None:
        if record is None:
            return None
        text, spans = snippet(text_of(record), self._asked.query)
        return pb.SearchHit(
            message_id=unpack(record.id),
            role=messages_pb2.Role.ValueType(record.role),
            create_time=timestamp(record.create_us),
            snippet=text,
            spans=spans,
        )
