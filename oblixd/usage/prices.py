"""What models cost, as the configuration says it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

PATTERN = r"\S{1,256}=\d{1,9}(\.\d{1,9})?/\d{1,9}(\.\d{1,9})?"
FORM = "provider:name=INPUT/OUTPUT, as in openai:gpt-4o-mini=0.15/0.60"
"""What `PATTERN` asks for: prices of a million tokens. A `*` at the model's end stands for the rest of it."""

_PARTS = re.compile(r"(\S+)=([\d.]+)/([\d.]+)")
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost."""

    input: float
    output: float
    cache_read: float | None = None
    """Of the input that the server had in its cache. None: as the rest."""
    cache_write: float | None = None
    """Of the input that the server put into its cache. None: as the rest."""

    @property
    def is_free(self) -> bool:
        """Whether nothing costs anything."""
        return not (self.input or self.output or self.cache_read or self.cache_write)

    def cost(
        self, input_tokens: int, output_tokens: int, cache_read_tokens: int = 0, cache_write_tokens: int = 0
    ) -> float:
        """Return what so many tokens cost. Those of the cache are part of the input's."""
        read = min(cache_read_tokens, input_tokens)
        written = min(cache_write_tokens, input_tokens - read)
        cost = (input_tokens - read - written) * self.input + output_tokens * self.output
        cost += read * (self.input if self.cache_read is None else self.cache_read)
        cost += written * (self.input if self.cache_write is None else self.cache_write)
        return cost / _MILLION


FREE = Price(0, 0)


class Prices:
    """The prices of models. A model's own goes before a pattern's, a longer pattern before a shorter one."""

    def __init__(self, prices: Mapping[str, Price] | None = None) -> None:
        """`prices`: by provider:name; a `*` at a name's end stands for the rest of it."""
        prices = prices or {}
        self._own = {model: price for model, price in prices.items() if not model.endswith("*")}
        self._patterns = {model[:-1]: price for model, price in prices.items() if model.endswith("*")}

    def of(self, model: str, *, is_local: bool = False) -> Price | None:
        """Return the price of a model, as provider:name. None: unknown. A local model without one is free."""
        if model in self._own:
            return self._own[model]
        fitting = [begin for begin in self._patterns if model.startswith(begin)]
        if fitting:
            return self._patterns[max(fitting, key=len)]
        return FREE if is_local else None


def parse_price(text: str) -> tuple[str, Price]:
    """Return the model and its price, of a text that matches `PATTERN`. Raises ValueError for another one."""
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise ValueError(text)
    return parts[1], Price(float(parts[2]), float(parts[3]))
