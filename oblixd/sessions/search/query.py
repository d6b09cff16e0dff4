"""What a person typed, made into what is looked for. Any text is a query."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from oblixd.sessions.search.words import Located, words

MAX_PHRASE_WORDS = 32
"""Of a longer phrase only the first words count: each is another walk through a common word's places."""

_UNIT = re.compile(r'"([^"]*)"(\*?)|([^\s"]+)')


class Place(NamedTuple):
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

    def found_in(self, there: Sequence[str]) -> list[int]:
        """Where in a text's words the unit begins."""
        *whole, last = self.words
        size = len(whole)
        ends = [at for at, word in enumerate(there) if word == last or self._begins(word)]
        return [at - size for at in ends if at >= size and there[at - size : at] == whole]

    def is_scattered_in(self, known: set[str]) -> bool:
        """True where all its words are there, next to each other or not."""
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
        """Reads a query: words, prefixes with a `*`, phrases in double quotes. Anything else only divides."""
        return cls(tuple(dict.fromkeys(_units(text))))

    @property
    def expression(self) -> str:
        """The query in FTS5's language."""
        return " AND ".join(unit.expression for unit in self.units)

    def places(self, text: Sequence[Located]) -> list[Place]:
        """Where the units are in a text, by their start."""
        there = [found.word for found in text]
        return sorted(
            Place(text[at].start, text[at + len(unit.words) - 1].end, number)
            for number, unit in enumerate(self.units)
            for at in unit.found_in(there)
        )

    def coverage(self, there: Sequence[str]) -> int:
        """How many units have all their words in a text, in whatever order: what places could be there."""
        known = set(there)
        return sum(unit.is_scattered_in(known) for unit in self.units)


def _units(text: str) -> Iterator[Unit]:
    for phrase, star, word in _UNIT.findall(text):
        if found := words(phrase or word):
            is_prefix = bool(star) or word.endswith("*")
            yield Unit(tuple(found[:MAX_PHRASE_WORDS]), is_prefix and len(found) <= MAX_PHRASE_WORDS)
