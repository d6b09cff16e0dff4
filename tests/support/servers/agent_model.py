"""The model behind an agent that is run for real: it answers by a script, whatever the agent's prompt is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from oblix.testing import Answer, Cut, OpenAIServer, Refuse, ToolCall
from oblix.testing.exchange import Exchange

ANSWER = "Moss grows in shade."
TOO_LONG = (
    "This model's maximum context length is 200000 tokens. However, your messages resulted in 250000 tokens."
)


class AgentModel(OpenAIServer):
    """Answers by the whole request: agents ask for titles and summaries beside their prompts."""

    def __init__(self) -> None:
        super().__init__(["small"])
        self.answer: Callable[[dict[str, Any]], Answer] = lambda _body: Answer(ANSWER)
        self._now = threading.local()

    def route(self, exchange: Exchange) -> None:
        """See `ModelServer.route`."""
        self._now.body = exchange.received.body
        super().route(exchange)

    def next_answer(self, question: str) -> Answer:
        """See `ModelServer.next_answer`."""
        return self.answer(self._now.body)

    def texts(self) -> list[str]:
        """All that each prompt held, oldest first, as one text each."""
        return [str(request.body["messages"]) for request in self.requests]


@dataclass
class WritesOnce:
    """Has the agent write a file with its first prompt that can, then says that it is done."""

    writes: ToolCall | str
    """A call of the agent's tool, or a text in the form that the agent reads."""
    results: list[str] = field(default_factory=list)
    """What the agent sent back."""
    is_done: bool = False

    def __call__(self, body: dict[str, Any]) -> Answer:
        """Answer one request."""
        if isinstance(self.writes, str):
            self.is_done, was_done = True, self.is_done
            return Answer("The note is written." if was_done else self.writes)
        results = [message for message in body["messages"] if message["role"] == "tool"]
        if results:
            self.is_done = True
            self.results.append(str(results[-1]["content"]))
            return Answer("The note is written.")
        if self.writes.name in {tool["function"]["name"] for tool in body.get("tools", [])}:
            return Answer(tool_calls=(self.writes,))
        return Answer(ANSWER)


def overflows(_body: dict[str, Any]) -> Answer:
    """Refuse everything as too long."""
    return Answer(fault=Refuse(400, TOO_LONG))


def dies(_body: dict[str, Any]) -> Answer:
    """Break off in the middle of an answer."""
    return Answer("Half an answer of a model that dies.", fault=Cut(3, reset=True))
