"""What a provider wants back with an answer of its own in later requests, and nobody else may see.

Signatures and encrypted reasoning mean nothing to us: they are kept as they came, with the answer,
and sent back to the server and the model that wrote them. Each format has its own JSON here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LARGEST_STATE = 256 * 1024
"""Bytes that are kept with one answer. More is dropped as a whole: half a signature is none."""

_CLAUDE = "claude:"
ANY_CLAUDE = "claude:*"
"""The author of what a client sends as Claude's signed thinking. Claude itself tells whether it is."""
_KEPT_OF_ANSWER = ("extra_content", "provider_specific_fields", "reasoning_opaque", "thinking_blocks")
"""What the answers of Gemini, LiteLLM and Copilot carry beside their text, to be sent back as it came."""
_KNOWN_OF_CALL = {"index", "id", "type", "function", "name", "arguments"}
_SECOND_HALF = re.compile("[\udc00-\udfff]")
_JOINED = ("text", "summary", "data", "signature")


@dataclass(slots=True)
class CompletionState:
    """Gathers what a chat completion's server wants back."""

    reasoning_field: str = ""
    """What the server calls its reasoning. Empty: it gave none."""
    _details: list[dict[str, Any]] = field(default_factory=list)
    _message: dict[str, Any] = field(default_factory=dict)

    def take(self, delta: Mapping[str, Any]) -> None:
        """Take what a delta holds of it."""
        details = delta.get("reasoning_details")
        for piece in details if isinstance(details, list) else []:
            if isinstance(piece, dict):
                self._join(piece)
        for key in _KEPT_OF_ANSWER:
            if delta.get(key):
                self._message[key] = delta[key]

    def extra_of(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """Give what a server wrote about a call beside what everybody knows of it."""
        if not isinstance(call.get("function"), dict):
            return {}
        return {key: value for key, value in call.items() if key not in _KNOWN_OF_CALL and value is not None}

    def to_json(self, calls: Mapping[str, Mapping[str, Any]]) -> str:
        """Give all of it as JSON; empty where there is nothing to send back, or too much."""
        state = {
            "reasoning_field": self.reasoning_field,
            "reasoning_details": self._details,
            "message": self._message,
            "calls": calls,
        }
        return dump_state({key: value for key, value in state.items() if value})

    def _join(self, piece: dict[str, Any]) -> None:
        """Join the pieces of one entry: OpenRouter numbers the entries, and cuts their texts."""
        last = self._details[-1] if self._details else None
        same = ("type", "index", "id")
        # An encrypted entry is whole; the id of one that is cut can come with its first piece alone.
        if last is None or any(piece.get(key, last.get(key)) != last.get(key) for key in same):
            self._details.append(dict(piece))
            return
        for key, value in piece.items():
            cut = key in _JOINED and isinstance(value, str) and isinstance(last.get(key), str)
            if cut:
                last[key] += value
            elif value is not None or key not in last:
                last[key] = value


def author_of(provider: str, name: str, origin: str) -> str:
    """Name a model at its server, for comparing: what it wrote goes back to nobody else."""
    return f"{provider}:{name} at {origin}" if origin else f"{provider}:{name}"


def is_own(author: str, own_author: str) -> bool:
    """Tell whether a model may see what an author's answers carry. `author`: the model at its server."""
    return bool(author) and (
        own_author == author or (own_author == ANY_CLAUDE and author.startswith(_CLAUDE))
    )


def merge(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join the states of answers that are sent as one."""
    result: dict[str, Any] = {}
    for state in states:
        for key, value in state.items():
            known = result.get(key)
            if isinstance(known, dict) and isinstance(value, dict):
                value = {**known, **value}  # noqa: PLW2901 - both are kept
            elif isinstance(known, list) and isinstance(value, list):
                value = [*known, *value]  # noqa: PLW2901
            result[key] = value
    return result


def dump_state(state: object) -> str:
    """Write a state as JSON; empty where it is empty or too large."""
    text = json.dumps(state, separators=(",", ":")) if state else ""
    return text if len(text) <= LARGEST_STATE else ""


def load_state(text: str) -> dict[str, Any]:
    """Read a state. What is none is empty: it may have come with an import."""
    return load_object(text) or {}


def load_object(text: str) -> dict[str, Any] | None:
    """Read a JSON object that is to be sent on. None: it is none, or can't be sent."""
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_finite) if text else {}
        if "\\u" in text:
            # Half of a surrogate pair can be written as JSON, and can't be sent as UTF-8.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _finite(number: str) -> float:
    """Read a number. Raises ValueError for NaN and infinity, which JSON has not, and for 1e999."""
    if not math.isfinite(value := float(number)):
        raise ValueError(number)
    return value


class MessageState:
    """Gathers the blocks of thinking that Claude wants back: unchanged, and at their places in the answer."""

    def __init__(self) -> None:
        self._blocks: list[dict[str, Any]] = []
        self._characters = 0
        self._calls = 0

    def begin(self, block: Mapping[str, Any]) -> None:
        """Begin a block of thinking, behind so much text and so many calls."""
        kept = {key: block[key] for key in ("type", "thinking", "signature", "data") if block.get(key)}
        self._blocks.append({"block": kept, "text": self._characters, "calls": self._calls})

    def think(self, thinking: str) -> None:
        """Add thinking to the block."""
        block = self._last_block()
        block["thinking"] = block.get("thinking", "") + thinking

    def sign(self, signature: str) -> None:
        """Sign the block."""
        self._last_block()["signature"] = signature

    def say(self, text: str) -> None:
        """Text of the answer came. A character whose halves come apart counts once."""
        self._characters += len(text) if text.isascii() else len(_SECOND_HALF.sub("", text))

    def called(self) -> None:
        """Note that a call came."""
        self._calls += 1

    def to_json(self) -> str:
        """Give it as JSON; empty where nothing was signed, or too much."""
        blocks = [one for one in self._blocks if one["block"].keys() & {"signature", "data"}]
        return dump_state({"blocks": blocks} if blocks else {})

    def _last_block(self) -> dict[str, Any]:
        if not self._blocks:
            self.begin({"type": "thinking"})
        block: dict[str, Any] = self._blocks[-1]["block"]
        return block


def thoughts_of(state: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], int, int]]:
    """Give Claude's blocks of thinking, and for each how much text and how many calls stand before it."""
    blocks = state.get("blocks")
    for one in blocks if isinstance(blocks, list) else []:
        if isinstance(one, dict) and isinstance(one.get("block"), dict):
            yield one["block"], _place(one.get("text")), _place(one.get("calls"))


def claude_thoughts(author: str, state: str) -> list[tuple[Mapping[str, Any], int, int]]:
    """Give the same of an answer by its author and its state as JSON. None where it is not Claude's."""
    return list(thoughts_of(load_state(state))) if author.startswith(_CLAUDE) else []


def _place(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
