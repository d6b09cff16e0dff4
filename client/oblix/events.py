"""What happens while a prompt is answered, in the order in which it comes.

Queued*  Started  (Queued | Delta | Rerouted)*  Completed
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from oblix.answers import AgentChecks, Answer, Decision, FinishReason
from oblix.results import Result


class Queued(Result, frozen=True):
    """The prompt waits for its turn in its session, or for its model. Comes again when that changes."""

    request_id: str
    position: int
    """Its position among those that wait, from 1."""
    model: str | None = None
    """The model that it waits for, as `provider:name`. None: it waits for its session's turn."""

    @property
    def place(self) -> int:
        """The position, as `OblixClient` has always called it."""
        return self.position


class Started(Result, frozen=True):
    """Its turn has come: the question is recorded, a model is chosen."""

    request_id: str
    session_id: str | None
    """None where nothing is recorded."""
    model: str
    """The model that was ranked first, as `provider:name`."""
    decision: Decision
    agent_checks: AgentChecks

    @property
    def model_id(self) -> str:
        """The model, as `OblixClient` calls it."""
        return self.model

    @property
    def routing_decision(self) -> dict[str, Any]:
        """The decision, as in the response of `OblixClient.execute`."""
        return self.decision.to_dict()


class Delta(Result, frozen=True):
    """A piece of the answer."""

    text: str
    kind: Literal["text", "reasoning", "tool_call"]
    """`reasoning` is the model's thinking; it is no part of the response. `tool_call` is a piece of the
    arguments of a call, as JSON text: the answer's `tool_calls` have them whole."""
    offset: int
    """Bytes of UTF-8 of all deltas before this one."""
    call_id: str = ""
    """Which call of the answer it is a piece of. Empty for text and reasoning."""
    name: str = ""
    """The tool that is called. Empty for text and reasoning."""


class Rerouted(Result, frozen=True):
    """The answer starts anew on another model: forget the deltas so far."""

    from_model: str
    to_model: str
    reason: str
    """UPPER_SNAKE."""
    detail: str
    """The same for a person."""


class Completed(Result, frozen=True):
    """The end. Nothing follows."""

    request_id: str
    session_id: str | None
    """None where nothing is recorded."""
    finish_reason: FinishReason
    answer: Answer

    @property
    def response(self) -> dict[str, Any]:
        """The answer as `OblixClient.execute` returns it."""
        return self.answer.to_dict()


Event: TypeAlias = Queued | Started | Delta | Rerouted | Completed
