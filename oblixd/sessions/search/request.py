"""What is asked: a request, checked.

What a person typed, made into what is looked for. Any text is a query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from oblix.v1 import sessions_pb2

from oblixd.errors import invalid_field
from oblixd.sessions.listing import filter_labels, page_position, partitions_of
from oblixd.sessions.search.schema import Standing
from oblixd.sessions.search.tokenizer import WordSpan, words
from oblixd.sessions.storage.db import SessionDb
from oblixd.sessions.storage.index import ARCHIVED, OPEN
from oblixd.sessions.storage.schema import number_key
from oblixd.sessions.validation import check_page_size

MAX_PHRASE_WORDS = 32
"""Of a longer phrase only the first words count: each is another walk through a common word's places."""

_UNIT = re.compile(r'"([^"]*)"(\*?)|([^\s"]+)')


class WordMatch(NamedTuple):
    """Where in a text a unit was found, in characters."""

    start: int
    end: int
    unit: int


@dataclass(frozen=True, slots=True)
class Unit:
    """Words that must stand next to each other; of the last one the beginning is enough for a prefix."""

    words: tuple[str, ...]
    is_prefix: bool

    @property
    def expression(self) -> str:
        """The unit in FTS5's language. A folded word holds nothing that has a meaning there."""
        return f'"{" ".join(self.words)}"' + (" *" if self.is_prefix else "")

    def positions_in(self, there: Sequence[str]) -> list[int]:
        """Return where in a text's words the unit begins."""
        *whole, last = self.words
        size = len(whole)
        ends = [at for at, word in enumerate(there) if word == last or self._begins(word)]
        return [at - size for at in ends if at >= size and there[at - size : at] == whole]

    def is_scattered_in(self, known: set[str]) -> bool:
        """Return True if all its words are there, next to each other or not."""
        *whole, last = self.words
        return known.issuperset(whole) and (last in known or any(map(self._begins, known)))

    def _begins(self, word: str) -> bool:
        return self.is_prefix and word.startswith(self.words[-1])


@dataclass(frozen=True, slots=True)
class Query:
    """Units that must all be there."""

    units: tuple[Unit, ...]

    @classmethod
    def of(cls, text: str) -> Query:
        """Read a query: words, prefixes with a `*`, phrases in double quotes. Anything else only divides."""
        return cls(tuple(dict.fromkeys(_units(text))))

    @property
    def expression(self) -> str:
        """The query in FTS5's language."""
        return " AND ".join(unit.expression for unit in self.units)

    def find_matches(self, text: Sequence[WordSpan]) -> list[WordMatch]:
        """Return where the units are in a text, by their start."""
        there = [found.word for found in text]
        return sorted(
            WordMatch(text[at].start, text[at + len(unit.words) - 1].end, number)
            for number, unit in enumerate(self.units)
            for at in unit.positions_in(there)
        )

    def coverage(self, there: Sequence[str]) -> int:
        """Count the units that have all their words in a text, in any order: these can have a place."""
        known = set(there)
        return sum(unit.is_scattered_in(known) for unit in self.units)


def _units(text: str) -> Iterator[Unit]:
    for phrase, star, word in _UNIT.findall(text):
        if found := words(phrase or word):
            is_prefix = bool(star) or word.endswith("*")
            yield Unit(tuple(found[:MAX_PHRASE_WORDS]), is_prefix and len(found) <= MAX_PHRASE_WORDS)


MAX_QUERY_CHARACTERS = 1000
DEFAULT_HITS = 20
MAX_HITS = 200

_STANDINGS = {OPEN: Standing.OPEN, ARCHIVED: Standing.ARCHIVED}


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A request that was checked."""

    query: Query
    size: int
    standings: tuple[Standing, ...]
    labels: frozenset[bytes]
    number: int | None
    """The one session that is searched. None: all."""
    identity: bytes
    """What a page token is bound to."""
    position: bytes
    """Where the page before ended. Empty: this is the first."""


def search_request(db: SessionDb, request: sessions_pb2.SearchMessagesRequest) -> SearchRequest:
    """Check a request. Errors as `Search.find`."""
    if not 1 <= len(request.query) <= MAX_QUERY_CHARACTERS:
        raise invalid_field(
            "INVALID_QUERY",
            "query",
            f"must be 1 to {MAX_QUERY_CHARACTERS:,} characters, not {len(request.query):,}.",
            limit=MAX_QUERY_CHARACTERS,
            given=len(request.query),
        )
    size = min(check_page_size(request.page_size, DEFAULT_HITS), MAX_HITS)
    labels = filter_labels(request.filter)
    standings = tuple(_STANDINGS[partition] for partition in partitions_of(request.archived))
    number = db.ref(request.session_id).number if request.session_id else None
    identity = b"".join(
        [b"search", bytes(standings), number_key(number or 0), *labels, request.query.encode()]
    )
    position = page_position(identity, request.page_token)
    return SearchRequest(
        Query.of(request.query), size, standings, frozenset(labels), number, identity, position
    )
