"""What is asked: a request, checked."""

from __future__ import annotations

from dataclasses import dataclass

from oblix.v1 import sessions_pb2 as pb

from oblixd.sessions.ledger import Ledger
from oblixd.sessions.listing import filter_labels, shelves_of
from oblixd.sessions.search.layout import Standing
from oblixd.sessions.search.query import Query
from oblixd.sessions.shelves import ARCHIVED, OPEN
from oblixd.sessions.tables import number_key
from oblixd.sessions.tokens import page_place
from oblixd.sessions.validation import check_page_size, invalid

MAX_QUERY_CHARACTERS = 1000
DEFAULT_HITS = 20
MAX_HITS = 200

_STANDINGS = {OPEN: Standing.OPEN, ARCHIVED: Standing.ARCHIVED}


@dataclass(frozen=True, slots=True)
class Question:
    """A request that was checked."""

    query: Query
    size: int
    standings: tuple[Standing, ...]
    labels: frozenset[bytes]
    number: int | None
    """The one session that is searched. None: all."""
    identity: bytes
    """What a page token is bound to."""
    place: bytes
    """Where the page before ended. Empty: this is the first."""


def question(ledger: Ledger, request: pb.SearchMessagesRequest) -> Question:
    """Checks a request. Errors as `Search.find`."""
    if not 1 <= len(request.query) <= MAX_QUERY_CHARACTERS:
        raise invalid(
            "INVALID_QUERY",
            "query",
            f"must be 1 to {MAX_QUERY_CHARACTERS:,} characters, not {len(request.query):,}.",
            limit=MAX_QUERY_CHARACTERS,
            given=len(request.query),
        )
    size = min(check_page_size(request.page_size, DEFAULT_HITS), MAX_HITS)
    labels = filter_labels(request.filter)
    standings = tuple(_STANDINGS[shelf] for shelf in shelves_of(request.archived))
    number = ledger.ref(request.session_id).number if request.session_id else None
    identity = b"".join(
        [b"search", bytes(standings), number_key(number or 0), *labels, request.query.encode()]
    )
    place = page_place(identity, request.page_token)
    return Question(Query.of(request.query), size, standings, frozenset(labels), number, identity, place)
