"""How many tokens texts take, remembered by their content: each message is counted once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

MOST = 20_000
"""Texts that are remembered of one tokeniser; the ones that were not used for longest are forgotten."""


class Counts:
    """Counts of one tokeniser. Holds no text, only its digest."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._counts: OrderedDict[bytes, int] = OrderedDict()

    def get(self, text: str) -> int | None:
        """What a text takes; None: it was not counted yet, or that was forgotten."""
        key = _key(text)
        if key in self._counts:
            self._counts.move_to_end(key)
        return self._counts.get(key)

    def put(self, text: str, count: int) -> None:
        """Remember what a text takes."""
        self._counts[_key(text)] = count
        self._counts.move_to_end(_key(text))
        if len(self._counts) > self._most:
            self._counts.popitem(last=False)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
