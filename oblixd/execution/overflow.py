"""What becomes of a context that a model's server calls too long, though it was reckoned to fit.

The window may not be known, or an estimate was too low. Then each later prompt of the session would fail the
same way. So the context is made shorter by what the refusal says, and sent again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from oblixd.models.base import ModelError, ModelErrorKind
from oblixd.models.http.server import RefusalError

MOST_TRIES = 3
"""Times that a context is made shorter in one turn for one model."""
WITHOUT_NUMBERS = 0.6
"""What is kept of a context where the refusal tells no numbers."""
SLACK = 0.9
"""What is used of the room that the numbers tell: servers and we do not count alike."""
_LEAST, _MOST = 0.05, 0.9

_LIMIT = re.compile(
    r"(?:maximum|limit|length|window|allowed|size|only|less than|at most)\D{0,40}?(\d[\d,]{2,})"
    r"|(\d[\d,]{2,})\D{0,24}(?:limit|maximum|allowed)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d[\d,]{2,}")


@dataclass(slots=True)
class Overflows:
    """The refusals of contexts that are too long, in one turn."""

    _most: dict[str, int] = field(default_factory=dict)
    _tries: dict[str, int] = field(default_factory=dict)

    def most(self, model: str) -> int | None:
        """How many tokens, as we count them, a context for it may have. None: what its window takes."""
        return self._most.get(model)

    def hear(self, model: str, error: ModelError, sent_tokens: int) -> bool:
        """Hear how a model failed; whether a shorter context is worth sending to it."""
        if error.kind is not ModelErrorKind.CONTEXT_OVERFLOW or not isinstance(error, RefusalError):
            return False
        self._tries[model] = self._tries.get(model, 0) + 1
        self._most[model] = int(sent_tokens * share_of(error.refusal.words))
        return self._tries[model] <= MOST_TRIES


def share_of(words: str) -> float:
    """What share of the context the server would take, by the numbers in its refusal."""
    limit = next((int((match[1] or match[2]).replace(",", "")) for match in _LIMIT.finditer(words)), 0)
    numbers = [int(number.replace(",", "")) for number in _NUMBER.findall(words)]
    if not limit or max(numbers) <= limit:
        return WITHOUT_NUMBERS
    return min(_MOST, max(_LEAST, limit / max(numbers) * SLACK))
