"""What happens while a prompt is answered, in the order in which it comes.

Queued*  Started  (Queued | Delta | Rerouted)*  Completed
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Queued:
    """The prompt waits for its turn in its session, or for its model. Comes again when the place changes."""

    request_id: str
    place: int
    """Its place among those that wait, from 1."""
    model: str | None = None
    """The model that it waits for, as `provider:name`. None: it waits for its session's turn."""


@dataclass(frozen=True, slots=True)
class Started:
    """Its turn has come: the question is recorded, a model is chosen."""

    request_id: str
    session_id: str | None
    """None where nothing is recorded."""
    model_id: str
    """The model that was ranked first, as `provider:name`."""
    routing_decision: dict[str, Any]
    """As in the response of `OblixClient.execute`."""
    agent_checks: list[dict[str, Any]]
    """As in the response of `OblixClient.execute`."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer."""

    text: str
    kind: Literal["text", "reasoning", "tool_call"]
    """`reasoning` is the model's thinking; it is no part of the response. `tool_call` is a piece of the
    arguments of a call, as JSON text: the response's `tool_calls` have them whole."""
    offset: int
    """Bytes of UTF-8 of all deltas before this one."""
    call_id: str = ""
    """Which call of the answer it is a piece of. Empty for text and reasoning."""
    name: str = ""
    """The tool that is called. Empty for text and reasoning."""


@dataclass(frozen=True, slots=True)
class Rerouted:
    """The answer starts anew on another model: forget the deltas so far."""

    from_model: str
    to_model: str
    reason: str
    """UPPER_SNAKE."""
    detail: str
    """The same for a person."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The end. Nothing follows."""

    request_id: str
    session_id: str | None
    """None where nothing is recorded."""
    finish_reason: str
    """`stop`, `length`, `tool_calls`, `content_filter` or `cancelled`."""
    response: dict[str, Any]
    """What `OblixClient.execute` returns."""


Event = Queued | Started | Delta | Rerouted | Completed
