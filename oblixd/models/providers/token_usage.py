"""What an answer consumed, in the words of every server that we know.

Counts come in several events and in several places; of each the largest counts, for they only
grow while an answer is written. Where the names come from: the usage types of the SDKs of OpenAI,
Anthropic, Google and Mistral, and the answers of DeepSeek, Moonshot, Groq, xAI, llama.cpp and Ollama.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oblixd.models.base import TokenCounts

_INPUT = ("prompt_tokens", "input_tokens", "promptTokenCount", "prompt_eval_count", "prompt_n")
_OUTPUT = ("completion_tokens", "output_tokens", "candidatesTokenCount", "eval_count", "predicted_n")
_TOTAL = ("total_tokens", "totalTokenCount")
_READ = (
    "cached_tokens",
    "cache_read_tokens",
    "cache_read_input_tokens",
    "prompt_cache_hit_tokens",
    "cachedContentTokenCount",
    "cache_n",
)
_WRITTEN = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
_THOUGHT = ("reasoning_tokens", "thinking_tokens", "thoughtsTokenCount")
_DETAILS = (
    "prompt_tokens_details",
    "input_tokens_details",
    "completion_tokens_details",
    "output_tokens_details",
)

_KINDS = {name: names for names in (_INPUT, _OUTPUT, _TOTAL, _READ, _WRITTEN, _THOUGHT) for name in names}
"""What each name counts."""
_LONGEST = 16
_MOST = 2**53
"""A count past this is no count, nor one that every JSON reader holds exactly."""


class UsageReader:
    """Gathers the counts of one answer."""

    def __init__(self, *, input_excludes_cache: bool = False) -> None:
        """`input_excludes_cache`: the format counts cached tokens apart from the input, as Claude's does."""
        self._apart = input_excludes_cache
        self._counts: dict[tuple[str, ...], int] = {}

    def take(self, usage: object) -> None:
        """Take what an event tells; anything that is no object tells nothing."""
        if not isinstance(usage, dict):
            return
        for holder in (usage, *(usage.get(key) for key in _DETAILS)):
            if isinstance(holder, dict):
                for name in _KINDS.keys() & holder.keys():
                    self._keep_largest(name, count_of(holder, name))

    @property
    def has_output(self) -> bool:
        """Whether the server told how much it wrote."""
        return bool(self._counts.get(_OUTPUT))

    def counts(self) -> TokenCounts:
        """Give what was told so far. A count is None where the server did not tell it."""
        given, written = self._counts.get(_INPUT), self._counts.get(_OUTPUT)
        read, cached = self._counts.get(_READ), self._counts.get(_WRITTEN)
        if self._apart and (given, read, cached) != (None, None, None):
            given = (given or 0) + (read or 0) + (cached or 0)
        thought = self._reasoning_tokens(given, written)
        if written is not None and thought and self._is_apart(given, written, thought):
            written += thought
        return TokenCounts(given, written, read, cached, thought)

    def _keep_largest(self, name: str, count: int | None) -> None:
        if count is not None:
            kind = _KINDS[name]
            self._counts[kind] = max(count, self._counts.get(kind, 0))

    def _reasoning_tokens(self, reported: int | None, output_tokens: int | None) -> int | None:
        """Tokens of reasoning. Google's endpoint tells them only as what the total is more than its parts."""
        told, total = self._counts.get(_THOUGHT), self._counts.get(_TOTAL)
        if told is not None or total is None or reported is None or output_tokens is None or self._apart:
            return told
        return total - reported - output_tokens if total > reported + output_tokens else None

    def _is_apart(self, reported_total: int | None, output_tokens: int, reasoning_tokens: int) -> bool:
        """Return whether reasoning is not part of the output's count: xAI and Google count it beside."""
        total = self._counts.get(_TOTAL)
        return reasoning_tokens > output_tokens or (
            total is not None and total == (reported_total or 0) + output_tokens + reasoning_tokens
        )


def count_of(holder: Mapping[str, Any], key: str) -> int | None:
    """Give a count of tokens, or None where there is none. Some servers write it as 11.0, or as a text."""
    count = holder.get(key)
    if isinstance(count, str) and count.isascii() and count.strip().isdecimal() and len(count) < _LONGEST:
        count = int(count)
    if isinstance(count, bool) or not isinstance(count, int | float):
        return None
    return int(count) if 0 <= count < _MOST and count == int(count) else None
