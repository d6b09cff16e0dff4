"""What a test server is to say, and how fast."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from oblix.testing.faults import Fault

_WORD = re.compile(r"\s*\S+|\s+$")


@dataclass(frozen=True)
class ToolCall:
    """A tool that the model asks for."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    call_id: str = "call_1"
    """The model's name for the call. Ollama's format has none, and leaves it out."""

    @property
    def pieces(self) -> list[str]:
        """The arguments as JSON text, in the pieces in which they are streamed."""
        return tokens(json.dumps(self.arguments, ensure_ascii=False))


@dataclass(frozen=True)
class Answer:
    """One answer of a model. A token is a word with the space before it."""

    text: str = ""
    reasoning: str = ""
    """What the model thinks before it answers, sent apart from the text."""
    tool_calls: tuple[ToolCall, ...] = ()
    """What the model wants called, after its text."""
    finish: str = "stop"
    """`stop`, or `length` where the model was cut off by a limit."""
    tokens_per_second: float | None = None
    """None: as fast as the connection takes them."""
    first_token_s: float = 0.0
    """Seconds until the first token."""
    input_tokens: int | None = None
    """What it says that the question took. None: the words of the question are counted."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with the answer's head: a rate limit's, for example. `Refuse` has its own."""
    fault: Fault | None = None
    """How the server misbehaves with this answer. None: not at all."""
    signature: str = ""
    """How the provider signs the reasoning. Only Claude's format has one."""

    @property
    def tokens(self) -> list[str]:
        """The tokens of the text."""
        return tokens(self.text)

    @property
    def reasoning_tokens(self) -> list[str]:
        """The tokens of the reasoning."""
        return tokens(self.reasoning)

    @property
    def pause_s(self) -> float:
        """Seconds between two tokens."""
        return 1 / self.tokens_per_second if self.tokens_per_second else 0.0

    @property
    def calls(self) -> bool:
        """Whether it ends because tools are to be called."""
        return bool(self.tool_calls) and self.finish == "stop"

    def limit(self, most: int | None) -> Answer:
        """Give this answer with at most so many tokens of text; None: all of them."""
        if most is None or most < 0 or len(self.tokens) <= most:
            return self
        return replace(self, text="".join(self.tokens[:most]), tool_calls=(), finish="length")


def tokens(text: str) -> list[str]:
    """Cut a text into words, each with the space before it; joined they are the text."""
    return _WORD.findall(text)


def echo(question: str) -> Answer:
    """Give the answer that servers give where the test scripted none."""
    return Answer(f"You said: {question}")
