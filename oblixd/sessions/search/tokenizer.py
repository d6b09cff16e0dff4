"""Text to words, the same when it is indexed, searched and shown.

A word is a run of letters, digits and their marks, folded: case, width and ligatures
are gone, and so are accents. Scripts that put no spaces between words (Chinese,
Japanese, Thai …), Korean syllables and symbols such as emoji are cut into single
characters, so that any part of such a text is found as a sequence of them.

Folding goes character by character (after composing what belongs together), so that
a word is the same wherever it stands, and its place in the text is known.

What of a message is searched: what people and tools said.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from oblixd.store.v1 import records_pb2 as records

MAX_WORD_CHARACTERS = 64
"""Longer words are known by their beginning: they are keys and hashes, not words."""
FOLD_BATCH = 64 * 1024
"""Characters that are folded in one step: a long text must not keep all other threads waiting."""
_REMEMBERED = 1 << 16

_ACCENTS = ((0x0300, 0x036F), (0x0591, 0x05C7), (0x064B, 0x065F), (0xFE00, 0xFE0F))
"""Marks that many leave out when they write: Latin, Greek, Cyrillic, Hebrew, Arabic; variants of emoji."""
_SINGLE = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),
    (0x3040, 0x30FF),  # Japanese
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),  # Korean
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
"""Characters each of which is a word."""


class WordSpan(NamedTuple):
    """A word and the characters of the text that it stands for."""

    word: str
    start: int
    end: int


def words(text: str) -> list[str]:
    """Return the words of a text, in order."""
    return [word[:MAX_WORD_CHARACTERS] for piece in pieces(text, FOLD_BATCH) for word in _fold(piece)]


def locate_words(text: str) -> list[WordSpan]:
    """Return the words of a composed text (`compose`) with their places."""
    folded, origin = _fold_with_places(text)
    return [
        WordSpan(match[0][:MAX_WORD_CHARACTERS], origin[match.start()], origin[match.end() - 1] + 1)
        for match in re.finditer(r"\S+", folded)
    ]


def _fold_with_places(text: str) -> tuple[str, Sequence[int]]:
    """Return the folded text, and for each of its characters the place of the one that it came from."""
    if text.isascii():
        return text.translate(_FOLDING), range(len(text))
    folded = [_FOLDING[ord(character)] for character in text]
    return "".join(folded), [place for place, piece in enumerate(folded) for _ in piece]


def compose(text: str) -> str:
    """Return the text with letters and their accents put together: the same to read, the same to compare."""
    return unicodedata.normalize("NFC", text)


def pieces(text: str, size: int) -> Iterator[str]:
    """Yield the text in pieces of at most `size` characters, cut behind a space where there is one."""
    at = 0
    while len(text) - at > size:
        space = max(text.rfind(mark, at, at + size) for mark in " \n")
        end = space + 1 if space > at else at + size
        yield text[at:end]
        at = end
    yield text[at:]


def _fold(text: str) -> list[str]:
    return compose(text).translate(_FOLDING).split()


class _Folding(dict[int, str]):
    """What becomes of each character, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", chr(code)).casefold())
        plain = "".join(part for part in apart if not _is_within(part, _ACCENTS))
        folded = "".join(map(_character_kind, compose(plain)))
        if len(self) < _REMEMBERED:
            self[code] = folded
        return folded


def _character_kind(character: str) -> str:
    """Return a character as a part of a word, as a word of its own, as the end of one, or as nothing."""
    category = unicodedata.category(character)
    if category == "So" or _is_within(character, _SINGLE):
        return f" {character} "
    if category == "Cf":
        return ""
    return character if category[0] in "LNM" or category in {"Co", "Cn"} else " "


def _is_within(character: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= ord(character) <= last for first, last in ranges)


_FOLDING = _Folding()


def text_of(record: records.MessageRecord) -> str:
    """Return the text parts and what tools answered, each on lines of its own. No thinking, no tool calls."""
    return "\n".join(filter(None, map(_part_text, record.parts)))


def _part_text(part: records.PartRecord) -> str:
    return part.tool_result.content if part.HasField("tool_result") else part.text
