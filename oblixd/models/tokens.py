"""How many tokens texts take, remembered by their content: each message is counted once.

How many tokens messages take: counted by the model's own tokeniser, else estimated with a margin.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from oblix.v1 import messages_pb2

from oblixd.models.base import Tool

MOST = 20_000
"""Texts that are remembered of one tokeniser; the ones that were not used for longest are forgotten."""


class TokenCountCache:
    """Counts of one tokeniser. Holds no text, only its digest."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._counts: OrderedDict[bytes, int] = OrderedDict()

    def get(self, text: str) -> int | None:
        """Return what a text takes; None: it was not counted yet, or that was forgotten."""
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


BYTES_PER_TOKEN = 3
"""A careful estimate: English has about 4 in common vocabularies, code and most other languages 2 to 3."""
TOKENS_PER_MESSAGE = 8
"""What a chat template adds around each message, rounded up."""
TOKENS_PER_IMAGE = 1000
MARGIN = 1.1
"""How much more than its last answers showed a model may take of the next context."""
ANSWERS = 16
"""Answers that a model's correction is made of. The worst of them counts."""
LEAST, TOKENS_MOST = 0.5, 3.0
"""A correction's bounds: a server that counts wrongly must not empty a context, nor overfill it."""
MODELS = 1000
"""Models whose counts are remembered."""

Tokeniser = Callable[[Sequence[messages_pb2.Message]], Awaitable[list[int] | None]]


def estimate(message: messages_pb2.Message) -> int:
    """Estimate the tokens of a message. Reasoning counts if its server wants it back."""
    size = images = 0
    silent = ("image",) if message.HasField("provider_state") else ("image", "reasoning")
    for part in message.parts:
        kind = part.WhichOneof("kind")
        images += kind == "image"
        size += 0 if kind in silent else part.ByteSize()
    return TOKENS_PER_MESSAGE + TOKENS_PER_IMAGE * images + -(-size // BYTES_PER_TOKEN)


def estimate_tools(tools: Sequence[Tool]) -> int:
    """Estimate the tokens of tool definitions: no tokeniser is asked, because templates rewrite them."""
    size = sum(len(f"{tool.name}{tool.description}{tool.parameters_schema}".encode()) for tool in tools)
    return TOKENS_PER_MESSAGE * len(tools) + -(-size // BYTES_PER_TOKEN)


class TokenCalibration:
    """What the usage that each model reported says of our estimates for it."""

    def __init__(self) -> None:
        self._ratios: OrderedDict[str, deque[float]] = OrderedDict()

    def learn(self, model: str, estimated_tokens: int, reported_tokens: int) -> None:
        """Hear how many tokens a context really took that was estimated."""
        if estimated_tokens <= 0 or reported_tokens <= 0:
            return
        ratios = self._ratios.setdefault(model, deque(maxlen=ANSWERS))
        ratios.append(reported_tokens / estimated_tokens)
        self._ratios.move_to_end(model)
        if len(self._ratios) > MODELS:
            self._ratios.popitem(last=False)

    def latest(self, model: str) -> float:
        """Return what the last answer showed, without a margin. 1 while nothing is known."""
        ratios = self._ratios.get(model)
        return min(TOKENS_MOST, max(LEAST, ratios[-1])) if ratios else 1.0

    def factor(self, model: str) -> float:
        """Return what an estimate for this model is to be multiplied by. 1 while nothing is known."""
        ratios = self._ratios.get(model)
        return min(TOKENS_MOST, max(LEAST, max(ratios) * MARGIN)) if ratios else 1.0


@dataclass(slots=True)
class TokenCounter:
    """Measures messages for one model. The first that can't be counted makes it estimate from then on."""

    tokeniser: Tokeniser
    factor: float = 1.0
    """What estimates are multiplied by."""
    is_counted: bool = True
    """Whether everything so far was counted."""

    async def measure(self, messages: Sequence[messages_pb2.Message]) -> list[int]:
        """Tokens of each message."""
        counted = await self.tokeniser(messages) if self.is_counted and messages else None
        if counted is not None:
            return counted
        self.is_counted = self.is_counted and not messages
        return [self.correct(estimate(message)) for message in messages]

    def correct(self, tokens: int) -> int:
        """Return an estimate of a message corrected by what this model showed so far."""
        return round(tokens * self.factor)
