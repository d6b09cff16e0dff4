"""What is said to anybody passes here: no key is in it, and nothing that takes over a terminal.

Every error of ours, every failure of a model and every line of the log is cleaned by `clean`. It takes out
each secret that this process was told of, in the forms that servers repeat it in, and pieces of it: a server
may cut its own words in the middle of a key.
"""

from __future__ import annotations

import base64
import json
import re
from collections import OrderedDict
from collections.abc import Iterator
from urllib.parse import quote

SHORTEST_SECRET = 8
"""Characters of a key that is worth hiding. A shorter one is made up, and would be found in any word."""
SHORTEST_PIECE = 12
"""Characters of a key that are hidden where not all of it is there."""
MOST_SECRETS = 1000
"""Secrets that are remembered; the least recently used go first."""
HIDDEN = "[key]"

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""C0 but for tab and newline, C1, and what turns the direction of a line around."""


class Secrets:
    """The secrets of this process, and the texts that are rid of them."""

    def __init__(self) -> None:
        self._forms: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._pieces: dict[str, int] = {}

    def learn(self, *secrets: str) -> None:
        """Hear of some; what is too short to be one is left alone."""
        for secret in secrets:
            if len(secret) < SHORTEST_SECRET:
                continue
            if secret not in self._forms:
                self._forms[secret] = forms = tuple(dict.fromkeys(_forms(secret)))
                self._count(forms, 1)
            self._forms.move_to_end(secret)
        while len(self._forms) > MOST_SECRETS:
            _, forms = self._forms.popitem(last=False)
            self._count(forms, -1)

    def hide(self, text: str) -> str:
        """Return the text with `HIDDEN` in the place of each secret and each piece of one."""
        for forms in self._forms.values():
            for form in forms:
                text = text.replace(form, HIDDEN) if form in text else text
        return self._without_pieces(text) if self._pieces else text

    def _count(self, forms: tuple[str, ...], step: int) -> None:
        for piece in (piece for form in forms for piece in _pieces(form)):
            left = self._pieces.get(piece, 0) + step
            if left:
                self._pieces[piece] = left
            else:
                del self._pieces[piece]

    def _without_pieces(self, text: str) -> str:
        found = [place for place, piece in enumerate(_pieces(text)) if piece in self._pieces]
        for end in reversed(_runs(found)):
            text = text[: end[0]] + HIDDEN + text[end[1] :]
        return text


SECRETS = Secrets()
"""Those of this process: whoever takes in a key tells it."""


def clean(text: str) -> str:
    """Return what may be shown of a text: without secrets and control characters."""
    return SECRETS.hide(printable(text))


def printable(text: str) -> str:
    """Remove control characters: an escape sequence is then mere text. Tabs and newlines stay."""
    return text if text.isprintable() else _CONTROLS.sub("", text)


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it is, as in a URL, as in JSON, and as in basic authentication."""
    yield secret
    yield quote(secret, safe="")
    yield json.dumps(secret)[1:-1]
    yield base64.b64encode(secret.encode()).decode().rstrip("=")


def _pieces(text: str) -> Iterator[str]:
    return (text[start : start + SHORTEST_PIECE] for start in range(len(text) - SHORTEST_PIECE + 1))


def _runs(places: list[int]) -> list[tuple[int, int]]:
    """Return the stretches of text that pieces beginning at these places cover."""
    runs: list[tuple[int, int]] = []
    for place in places:
        if runs and place <= runs[-1][1]:
            runs[-1] = (runs[-1][0], place + SHORTEST_PIECE)
        else:
            runs.append((place, place + SHORTEST_PIECE))
    return runs
