"""The piece of a text that shows why it was found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from oblix.v1.sessions_pb2 import SnippetSpan

from oblixd.sessions.search.request import Query, WordMatch
from oblixd.sessions.search.tokenizer import compose, locate_words, pieces, words

SNIPPET_CHARACTERS = 200
"""How long a snippet is, the marks at its cut ends aside."""
PIECE_SIZE = 1000
"""Characters of the part of a text in which the words' matches are worked out."""
_CUT = "…"


class Snippet(NamedTuple):
    """A piece of a text, without line breaks, and where in it the query's words are."""

    text: str
    spans: list[SnippetSpan]


def snippet(text: str, query: Query) -> Snippet:
    """Return the piece that holds the most of the query; the beginning where none of it is found."""
    text = compose(text)
    block = _best_block(text, query)
    matches = [
        WordMatch(block.start + start, block.start + end, unit)
        for start, end, unit in query.find_matches(locate_words(text[block]))
    ]
    window = _widen(text, _densest(matches))
    return _cut_snippet(text, window, matches)


def _best_block(text: str, query: Query) -> slice:
    """Return the first part of the text with the most of the query's words in it."""
    best, most, at = slice(0, 0), -1, 0
    for piece in pieces(text, PIECE_SIZE):
        coverage = query.coverage(words(piece))
        if coverage > most:
            best, most = slice(at, at + len(piece)), coverage
        if most == len(query.units):
            break
        at += len(piece)
    return best


def _densest(matches: Sequence[WordMatch]) -> slice:
    """Find where most units stand together within a snippet's length, the closest of these."""
    units = len({match.unit for match in matches})
    candidates = [_together(matches[number:], units) for number in range(len(matches))]
    best = max(candidates, key=lambda found: (found[0], found[1].start - found[1].stop), default=None)
    return best[1] if best else slice(0, 0)


def _together(matches: Sequence[WordMatch], most: int) -> tuple[int, slice]:
    """Count the different units that stand near the first match, at most `most`; return where they are."""
    start, end = matches[0].start, matches[0].end
    units: set[int] = set()
    for match in takewhile(lambda match: match.end <= start + SNIPPET_CHARACTERS, matches):
        if match.unit not in units:
            units.add(match.unit)
            end = max(end, match.end)
            if len(units) == most:
                break
    return len(units), slice(start, end)


def _widen(text: str, window: slice) -> slice:
    """Widen a window to the room that there is, a third of it before, cut between words."""
    room = max(SNIPPET_CHARACTERS - (window.stop - window.start), 0)
    start = max(window.start - room // 3, 0)
    end = min(start + SNIPPET_CHARACTERS, len(text))
    start = max(min(start, end - SNIPPET_CHARACTERS), 0)
    if start and (space := re.search(r"\s", text[start : window.start])):
        start += space.end()
    if end < len(text) and (space := re.search(r"\s\S*\Z", text[window.stop : end])):
        end = window.stop + space.start()
    return slice(start, end)


def _cut_snippet(text: str, window: slice, matches: Sequence[WordMatch]) -> Snippet:
    before = _CUT if window.start else ""
    after = _CUT if window.stop < len(text) else ""
    shown = before + re.sub(r"\s", " ", text[window]) + after
    shift = window.start - len(before)
    return Snippet(shown, [_span(start - shift, end - shift) for start, end in _unite(matches, window)])


def _unite(matches: Sequence[WordMatch], window: slice) -> list[tuple[int, int]]:
    """Return what of the matches lies in the window, in order, overlaps made one."""
    united: list[tuple[int, int]] = []
    for match in matches:
        start, end = max(match.start, window.start), min(match.end, window.stop)
        if start >= end:
            continue
        if united and start < united[-1][1]:
            united[-1] = united[-1][0], max(united[-1][1], end)
        else:
            united.append((start, end))
    return united


def _span(start: int, end: int) -> SnippetSpan:
    return SnippetSpan(start=start, length=end - start)
